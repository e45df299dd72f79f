"""PPO against TRL 1.12's trainer, the last that has one: one update on a recorded rollout.

TRL's own loop runs; only its sampling is replaced by the recorded tokens. Compared to 1e-5
relative: advantages, KL, policy loss and value loss over two epochs, and all gradients.
"""

import copy

import pytest
import torch

from alignmeter.batches import Batch
from alignmeter.methods import open_setup
from alignmeter.methods.ppo import PpoSettings, PpoStep
from alignmeter.session.resolve import resolve_cell
from alignmeter.training.step import SilentProbe

trl = pytest.importorskip("trl", reason="TRL is not installed; run tox -e oracle-ppo")
if not trl.__version__.startswith("1.12"):
    pytest.skip("needs TRL 1.12; run tox -e oracle-ppo", allow_module_level=True)

from datasets import Dataset  # noqa: E402 - after the skips
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer  # noqa: E402
from trl_inputs import made_tokenizer  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")  # of TRL and datasets
CPU = torch.device("cpu")
ROWS, PROMPT, RESPONSE, EPOCHS, RATE = 4, 8, 12, 2, 1e-4
COMBINATIONS = [(a, p) for a in ("llama", "mamba", "mamba2") for p in ("full", "lora")]


class Watched(PPOTrainer):
    """Keeps the gradients of every optimizer step, by parameter name."""

    def create_optimizer(self, model=None):
        optimizer = super().create_optimizer()
        names = {id(p): name for name, p in self.model.named_parameters()}
        self.gradients = []
        optimizer.register_step_pre_hook(
            lambda *_: self.gradients.append(gradients_of(optimizer, names))
        )
        return optimizer


def gradients_of(optimizer, names):
    return {
        names[id(p)]: p.grad.clone()
        for group in optimizer.param_groups
        for p in group["params"]
        if p.grad is not None
    }


def ours(architecture, peft):
    cell = resolve_cell(
        {
            "accelerator": "cpu", "method": "ppo", "architecture": architecture, "peft": peft,
            "data": "synthetic", "seq_len": PROMPT + RESPONSE, "prompt_len": PROMPT,
            "ppo_epochs": EPOCHS, "ppo_backward": "joint",
        }
    ).cell  # fmt: skip
    settings = PpoSettings(learning_rate=RATE, value_learning_rate=RATE)
    step = PpoStep(open_setup(cell, CPU, seed=0), settings)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for model in step.models().values():
            for name, parameter in model.named_parameters():
                if ".lora_B." in name:
                    parameter.normal_(std=0.02, generator=generator)
    return step


def as_theirs(scalar):
    """Our scalar model under the names that TRL looks for."""
    model = copy.deepcopy(scalar)
    model.base_model_prefix = "backbone"
    model.config = model.backbone.config
    model.is_gradient_checkpointing = False
    return model


def their_update(step, ids, tmp_path, monkeypatch):
    """One update of TRL's trainer on ``ids``; the trainer, and the advantages it used."""
    advantages = []
    whiten = ppo_trainer.masked_whiten

    def keep(values, mask, shift_mean=True):
        advantages.append(whiten(values, mask, shift_mean))
        return advantages[-1]

    def replay(policy, queries, *_):
        order = [int((ids[:, :PROMPT] == query).all(1).nonzero()) for query in queries]
        recorded = ids[order]
        advantages.append(order)
        return recorded, policy(input_ids=recorded).logits[:, PROMPT - 1 : -1]

    monkeypatch.setattr(ppo_trainer, "masked_whiten", keep)
    monkeypatch.setattr(ppo_trainer, "batch_generation", replay)
    ours = step.settings
    settings = PPOConfig(
        output_dir=str(tmp_path), per_device_train_batch_size=ROWS, num_mini_batches=1,
        num_ppo_epochs=EPOCHS, total_episodes=ROWS, response_length=RESPONSE, report_to=[],
        use_cpu=True, num_sample_generations=0, save_strategy="no", learning_rate=RATE, bf16=False,
        gradient_checkpointing=False, logging_steps=1, disable_tqdm=True, kl_coef=ours.kl_coef,
        cliprange=ours.clip, cliprange_value=ours.value_clip, vf_coef=ours.value_coef,
        gamma=ours.gamma, lam=ours.lam, missing_eos_penalty=None, temperature=1.0,
        local_rollout_forward_batch_size=ROWS,
    )  # fmt: skip
    queries = Dataset.from_list([{"input_ids": row[:PROMPT].tolist()} for row in ids])
    trainer = Watched(
        args=settings, processing_class=made_tokenizer("left"),
        model=copy.deepcopy(step.actors.policy),
        ref_model=open_setup(step.setup.cell, CPU, seed=0).backbones.take(0),
        reward_model=as_theirs(step.actors.reward), value_model=as_theirs(step.actors.value),
        train_dataset=queries, eval_dataset=queries,
    )  # fmt: skip
    trainer.train()
    order, found = advantages
    back = torch.empty_like(found)
    back[order] = found
    return trainer, back


@pytest.mark.parametrize(("architecture", "peft"), COMBINATIONS)
def test_ppo(architecture, peft, tmp_path, monkeypatch):
    step = ours(architecture, peft)
    ids = torch.randint(
        3, 512, (ROWS, PROMPT + RESPONSE), generator=torch.Generator().manual_seed(2)
    )
    trainer, their_advantages = their_update(step, ids, tmp_path, monkeypatch)
    log = trainer.state.log_history[0]

    scored, _ = step.score(ids, PROMPT)
    torch.testing.assert_close(scored.advantages, their_advantages, rtol=1e-5, atol=1e-5)
    found = step.actors.score(ids, PROMPT)
    kl = (found.logprobs - found.ref_logprobs).sum(1).mean()
    assert kl.item() == pytest.approx(log["objective/kl"], rel=1e-5, abs=1e-5)

    gradients = {"policy": [], "value": []}
    losses = {"policy": [], "value": []}
    for name, model in (("policy", step.actors.policy), ("value", step.actors.value)):
        names = {id(p): f"{name}.{key}" for key, p in model.named_parameters()}
        optimizer = getattr(step.actors, f"{name}_optimizer")
        optimizer.register_step_pre_hook(
            lambda optimizer, *_, n=name, names=names: gradients[n].append(
                gradients_of(optimizer, names)
            )
        )
        whole = getattr(step, f"_{name}_loss")

        def keep(*arguments, whole=whole, n=name):
            losses[n].append(whole(*arguments))
            return losses[n][-1]

        monkeypatch.setattr(step, f"_{name}_loss", keep)
    batch = Batch(
        ids=ids, response_mask=torch.ones(ROWS, RESPONSE), prompt_len=PROMPT, eos=2,
        real_tokens=ids.numel(), pairs=(0, 1), rollout=ids,
    )  # fmt: skip
    outcome = step.run(batch, SilentProbe())
    policy = sum(losses["policy"]) / EPOCHS
    value = sum(losses["value"]) / EPOCHS / step.settings.value_coef
    # The policy loss sums to nearly zero, because advantages are whitened: its terms are of size 1.
    assert policy.item() == pytest.approx(log["loss/policy_avg"], rel=1e-5, abs=1e-5)
    assert value.item() == pytest.approx(log["loss/value_avg"], rel=1e-5)
    total = log["loss/policy_avg"] + step.settings.value_coef * log["loss/value_avg"]
    assert outcome.loss.item() == pytest.approx(total, rel=1e-5, abs=1e-5)

    (first, _) = trainer.gradients
    mine = {**gradients["policy"][0], **gradients["value"][0]}
    assert mine
    for name, gradient in mine.items():
        other = first[name.replace("value.", "value_model.", 1)]
        apart = (gradient - other).norm() / max(other.norm(), 1e-3)
        assert apart <= 1e-5, f"{name}: {apart:.2e}"
