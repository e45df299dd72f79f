"""GRPO, RLOO and distillation against TRL 1.16: losses and every gradient, to 1e-5 relative.

Losses with an old policy away from the current one; then whole steps in a row on recorded rollouts,
where TRL's own loop runs, from rewards to optimizer, and only its sampling is replaced.
"""

import copy
import dataclasses

import pytest
import torch

from alignmeter.methods.distill import DistillSettings, DistillStep
from alignmeter.methods.losses.group import group_advantages, leave_one_out
from alignmeter.methods.losses.grpo import GRPO_VARIANTS, grpo_loss
from alignmeter.methods.losses.rloo import rloo_loss
from alignmeter.training.step import SilentProbe

trl = pytest.importorskip("trl", reason="TRL is not installed; run tox -e oracle")
if not trl.__version__.startswith("1.16"):
    pytest.skip("needs TRL 1.16; run tox -e oracle", allow_module_level=True)

from trl_comparison import (  # noqa: E402 - after the skips
    COMBINATIONS,
    CPU,
    SETTINGS,
    batches_of,
    caught,
    descended,
    our_step,
    ran,
    split_at_prompt,
    trained,
    untrained,
)
from trl_inputs import made_rows, made_tokenizer  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")  # of TRL and datasets
VARIANTS = {
    "grpo": {"loss_type": "grpo"},
    "dapo": {"loss_type": "dapo", "epsilon_high": 0.28},
    "dr-grpo": {"loss_type": "dr_grpo", "scale_rewards": "none"},
    "gspo": {
        "loss_type": "grpo", "importance_sampling_level": "sequence",
        "epsilon": 3e-4, "epsilon_high": 4e-4,
    },
    "cispo": {"loss_type": "cispo", "epsilon_high": 5.0},
}  # fmt: skip
"""Our value of the axis -> TRL's settings."""
LOSSES = [(v, "0", a, p) for v in VARIANTS for a, p in COMBINATIONS]
LOSSES += [("grpo", "k3", a, p) for a, p in COMBINATIONS]
LOSSES += [(v, "k3", "llama", "full") for v in VARIANTS if v != "grpo"]
REWARDS = torch.tensor([0.3, -1.0, 0.7, 0.1])
APART = torch.tensor([[0.5], [0.5], [-0.5], [-0.5]])
"""Log of the ratio that answers have: of a good and a bad one each, so that a clip holds one."""
STEPS, GROUP = 3, 4
SHAPE = {"batch": GROUP, "group": GROUP, "seq_len": 24, "prompt_len": 12}
"""Of the cells that run whole steps: two groups of neighbours."""


def never(**_):
    raise AssertionError("a loss alone asks for no rewards")


def built(kind, settings, step, folder, judge, **more):
    """TRL's trainer of a copy of our policy, before our step changes it.

    ``judge``: what tells it how good an answer is, by the trainer's name for it.
    """
    policy = copy.deepcopy(step.policy)
    if more.get("beta"):  # it takes no ref_model, but reads the one that the policy came from
        untrained(step).save_pretrained(folder / "ref")
        policy.config._name_or_path = str(folder / "ref")
    cell = step.setup.cell
    more = SETTINGS | {"max_completion_length": cell.seq_len - cell.prompt_len} | more
    return kind(
        model=policy, args=settings(output_dir=str(folder), **more),
        processing_class=made_tokenizer("left"), train_dataset=made_rows("prompt"), **judge,
    )  # fmt: skip


def older(step, batch, apart):
    """Log-probs of an older policy: ``apart`` [R, 1] from now in a row's mean, more in tokens."""
    with torch.no_grad():
        now = step.logprobs(step.policy, batch.ids, batch.prompt_len)
    mask = batch.response_mask
    noise = torch.randn(now.shape, generator=torch.Generator().manual_seed(3))
    return now - apart - (noise - (noise * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True))


def named(variant, kl):
    return f"grpo {variant}" + (" k3" if kl == "k3" else "")


def test_every_grpo_variant_has_settings_of_trls():
    assert set(VARIANTS) == set(GRPO_VARIANTS)


@pytest.mark.parametrize(("variant", "kl", "architecture", "peft"), LOSSES)
def test_grpo_loss(variant, kl, architecture, peft, tmp_path, compare):
    step, batch = our_step("grpo", architecture, peft, rows="chosen", grpo_variant=variant, kl=kl)
    trainer = built(
        trl.GRPOTrainer, trl.GRPOConfig, step, tmp_path, {"reward_funcs": never},
        num_generations=2, **VARIANTS[variant],
    )  # fmt: skip
    with torch.no_grad():
        ref = step.logprobs(untrained(step), batch.ids, batch.prompt_len)
    old = older(step, batch, APART)
    advantages = group_advantages(REWARDS, 2, scale=step.variant.scale)
    inputs = split_at_prompt(batch) | {
        "old_per_token_logps": old, "ref_per_token_logps": ref, "advantages": advantages,
        "num_items_in_batch": batch.response_mask.sum(),
    }  # fmt: skip
    # With a beta from the start the trainer would load a ref_model, which the loss does not ask.
    trainer.beta = step.settings.kl_coef if kl == "k3" else 0.0
    model = trained(trainer)
    theirs = descended(trainer.compute_loss(model, inputs), model)
    metrics = trainer._metrics["train"]
    clipped = metrics["cispo_clip_ratio" if variant == "cispo" else "clip_ratio/region_mean"][-1]
    assert 0 < clipped < 1
    loss = grpo_loss(
        step.logprobs(step.policy, batch.ids, batch.prompt_len),
        old,
        advantages,
        batch.response_mask,
        variant=step.variant,
        ref_logprobs=ref if step.penalised else None,
        kl_coef=step.settings.kl_coef,
    )
    compare(named(variant, kl), descended(loss, step.policy), theirs)


@pytest.mark.parametrize(("architecture", "peft"), COMBINATIONS)
def test_rloo_loss(architecture, peft, tmp_path, compare):
    step, batch = our_step("rloo", architecture, peft, rows="chosen")
    trainer = built(
        trl.RLOOTrainer, trl.RLOOConfig, step, tmp_path, {"reward_funcs": never},
        num_generations=2, beta=0.0, epsilon=step.settings.clip,
    )  # fmt: skip
    mask, advantages = batch.response_mask, leave_one_out(REWARDS, 2)
    with torch.no_grad():
        now = (step.logprobs(step.policy, batch.ids, batch.prompt_len) * mask).sum(1)
    old = older(step, batch, APART / mask.sum(1, keepdim=True))
    # TRL subtracts sums of size 200, whose last place is 1.5e-5: these differ by an exact half.
    inputs = split_at_prompt(batch) | {"old_logps": now - APART[:, 0], "advantages": advantages}
    model = trained(trainer)
    theirs = descended(trainer.compute_loss(model, inputs), model)
    assert trainer._metrics["train"]["clip_ratio/region_mean"] == [0.5]
    loss = rloo_loss(
        step.logprobs(step.policy, batch.ids, batch.prompt_len),
        old,
        advantages,
        mask,
        clip=step.settings.clip,
    )
    compare("rloo", descended(loss, step.policy), theirs)


@pytest.mark.parametrize("beta", [1.0, 0.5, 0.3, 0.0])
@pytest.mark.parametrize(
    ("architecture", "peft", "kernels"),
    [*((a, p, "custom") for a, p in COMBINATIONS), ("llama", "full", "stock")],
)
def test_distill(architecture, peft, kernels, beta, tmp_path, compare):
    """Whole steps; with stock kernels the logits are there at once, and not some rows at a time."""
    step, batch = our_step(
        "distill", architecture, peft, kernels=kernels,
        build=lambda setup: DistillStep(setup, DistillSettings(beta=beta)),
    )  # fmt: skip
    batch = recorded(batch, torch.Generator().manual_seed(2))
    trainer = built(
        trl.DistillationTrainer, trl.DistillationConfig, step, tmp_path,
        {"teacher_model": step.teacher}, beta=beta,
    )  # fmt: skip
    model = trained(trainer)
    loss = trainer.compute_loss(model, split_at_prompt(batch))
    compare(f"distill beta {beta}", ran(step, batch), descended(loss, model))


def recorded(batch, generator):
    """The batch with a rollout: its prompts with tokens that no policy chose, all of them real."""
    mask = torch.ones_like(batch.response_mask)
    answers = torch.randint(3, 512, mask.shape, generator=generator)
    ids = torch.cat([batch.prompts, answers], dim=1)
    return dataclasses.replace(
        batch, ids=ids, response_mask=mask, real_tokens=ids.numel(), rollout=ids
    )


def replayed(trainer, recordings):
    """Recorded tokens, a batch a step, in the place of the trainer's tokenizer and sampling."""
    at = recordings[0].prompt_len
    prompts = iter([batch.rollout[:, :at].tolist() for batch in recordings])
    answers = iter([batch.rollout[:, at:].tolist() for batch in recordings])
    # GRPO's sampling has log-probs to tell, of engines that are not the policy.
    with_logprobs = isinstance(trainer, trl.GRPOTrainer)
    trainer._tokenize_prompts = lambda _: (next(prompts), None, {})
    trainer._generate_single_turn = lambda *_: (
        (next(answers), None) if with_logprobs else next(answers)
    )


def their_steps(trainer):
    """(loss, gradients) of each step of the trainer's own loop."""
    losses, gradients, compute = [], [], trainer.compute_loss

    def compute_loss(*arguments, **named):
        loss = compute(*arguments, **named)
        losses.append(loss.detach())
        return loss

    trainer.compute_loss = compute_loss
    found = caught(trainer.create_optimizer(), trainer.model)
    trainer.optimizer.register_step_post_hook(lambda *_: gradients.append(dict(found)))
    trainer.train()
    return list(zip(losses, gradients, strict=True))


def compare_steps(step, build, name, compare):
    """Some steps of ours on recorded rollouts, then as many of TRL's loop on the same tokens.

    ``build`` makes the trainer, given what our reward says. The losses sum up advantages of both
    signs that nearly cancel: those of GRPO are of size 1, those of RLOO of that of the rewards.
    """
    generator, batches = torch.Generator().manual_seed(2), batches_of(step)
    recordings = [recorded(batches.take(i, CPU, "groups"), generator) for i in range(STEPS)]
    rewards = [step.reward.of(batch.rollout, batch) for batch in recordings]
    given = iter(rewards)
    trainer = build(lambda **_: next(given).tolist())
    replayed(trainer, recordings)
    ours, gradients = [], caught(step.optimizer, step.policy)
    for batch in recordings:
        loss = step.run(batch, SilentProbe()).loss
        ours.append((loss, dict(gradients)))
    terms = min(1.0, *(float(found.std()) for found in rewards))
    for mine, their in zip(ours, their_steps(trainer), strict=True):
        compare(name, mine, their, terms=terms)


LOOP = {
    "per_device_train_batch_size": 2 * GROUP, "max_steps": STEPS, "num_generations": GROUP,
    "lr_scheduler_type": "constant", "max_grad_norm": 0.0, "logging_strategy": "no",
}  # fmt: skip
"""Of TRL's loop, so that it does no more than ours."""


@pytest.mark.parametrize(
    ("variant", "kl", "architecture", "peft"),
    [
        *(("grpo", "k3", a, p) for a, p in COMBINATIONS),
        *((v, "0", "llama", "full") for v in VARIANTS),
    ],
)
def test_grpo_steps(variant, kl, architecture, peft, tmp_path, compare):
    step, _ = our_step("grpo", architecture, peft, grpo_variant=variant, kl=kl, **SHAPE)

    def build(reward):
        return built(
            trl.GRPOTrainer, trl.GRPOConfig, step, tmp_path, {"reward_funcs": reward},
            learning_rate=step.settings.learning_rate,
            beta=step.settings.kl_coef if kl == "k3" else 0.0, **LOOP, **VARIANTS[variant],
        )  # fmt: skip

    compare_steps(step, build, f"{named(variant, kl)}, steps", compare)


@pytest.mark.parametrize(("architecture", "peft"), COMBINATIONS)
def test_rloo_steps(architecture, peft, tmp_path, compare):
    step, _ = our_step("rloo", architecture, peft, **SHAPE)

    def build(reward):
        return built(
            trl.RLOOTrainer, trl.RLOOConfig, step, tmp_path, {"reward_funcs": reward},
            learning_rate=step.settings.learning_rate, beta=step.settings.kl_coef,
            epsilon=step.settings.clip, **LOOP,
        )  # fmt: skip

    compare_steps(step, build, "rloo, steps", compare)
