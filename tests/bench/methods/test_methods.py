"""Every method trains, it does not only run."""

import contextlib
import math

import pytest
import torch
from crossed import crossed
from torch import nn

from alignmeter.batches import open_batches
from alignmeter.methods import open_method, open_setup
from alignmeter.methods.dpo import DpoSettings, DpoStep
from alignmeter.methods.ppo import PpoSettings, PpoStep
from alignmeter.methods.rm import RmSettings, RmStep
from alignmeter.methods.sft import SftSettings, SftStep
from alignmeter.registry import ARCHITECTURES, METHODS, PEFT_MODES
from alignmeter.training.rollout import Asked, rollout
from alignmeter.training.step import SilentProbe

CPU = torch.device("cpu")


class Listening(SilentProbe):
    """Remembers the phases it was told of."""

    def __init__(self):
        self.heard = []

    @contextlib.contextmanager
    def phase(self, name):
        self.heard.append(name)
        yield


def take(source, method, step):
    return source.take(step, CPU, open_method(method).rows)


@pytest.mark.parametrize(*crossed(architecture=ARCHITECTURES, peft=["full", "lora"]))
def test_dpo_learns_a_fixed_batch(architecture, peft, make_cell):
    """The loss falls well below ln 2 and every chosen answer wins."""
    cell = make_cell(architecture=architecture, peft=peft)
    rate = 1e-4 if peft == "full" else 2e-3
    step = DpoStep(open_setup(cell, CPU, seed=0), DpoSettings(learning_rate=rate, beta=0.5))
    batch = open_batches(cell, vocab_size=512, seed=0).take(0, CPU)
    outcomes = [step.run(batch, SilentProbe()) for _ in range(12)]
    assert outcomes[0].loss.item() == pytest.approx(math.log(2), abs=1e-6)
    assert outcomes[-1].loss.item() < 0.5
    assert outcomes[-1].accuracy.item() == 1.0


@pytest.mark.parametrize(*crossed(architecture=ARCHITECTURES, peft=["full", "lora"]))
def test_rm_learns_to_rank_a_fixed_batch(architecture, peft, make_cell):
    cell = make_cell(method="rm", architecture=architecture, peft=peft, batch=4)
    rate = 1e-4 if peft == "full" else 2e-3
    step = RmStep(open_setup(cell, CPU, seed=0), RmSettings(learning_rate=rate))
    batch = open_batches(cell, vocab_size=512, seed=0).take(0, CPU)
    outcomes = [step.run(batch, SilentProbe()) for _ in range(12)]
    assert outcomes[0].accuracy.item() < 1.0
    assert outcomes[-1].accuracy.item() == 1.0
    assert outcomes[-1].loss.item() < 0.5 * outcomes[0].loss.item()


@pytest.mark.parametrize(*crossed(architecture=ARCHITECTURES, peft=["full", "lora"]))
def test_sft_makes_its_batch_likelier(architecture, peft, make_cell):
    """After 20 steps the response tokens are e times as likely: a nat."""
    cell = make_cell(method="sft", architecture=architecture, peft=peft)
    rate = 5e-4 if peft == "full" else 1e-2
    step = SftStep(open_setup(cell, CPU, seed=0), SftSettings(learning_rate=rate))
    batch = open_batches(cell, vocab_size=512, seed=0).take(0, CPU, "chosen")
    losses = [step.run(batch, SilentProbe()).loss.item() for _ in range(20)]
    assert losses[-1] < losses[0] - 1


class ShareOfToken(nn.Module):
    """A toy reward: how much of the response is one token, on the last token."""

    token = 7

    def __init__(self, prompt_len):
        super().__init__()
        self.prompt_len = prompt_len

    def forward(self, ids):
        share = (ids[:, self.prompt_len :] == self.token).float().mean(1)
        return 20 * share.unsqueeze(1).expand(-1, ids.shape[1])


@pytest.mark.parametrize(
    ("architecture", "peft", "backward"),
    [
        ("llama", "lora", "sequential"),
        *(
            pytest.param(*axes, marks=pytest.mark.exhaustive)
            for axes in (
                ("llama", "full", "sequential"), ("llama", "full", "joint"),
                ("llama", "lora", "joint"),
                ("mamba", "full", "sequential"), ("mamba", "lora", "joint"),
            )
        ),
    ],
)  # fmt: skip
def test_ppo_raises_a_toy_reward(architecture, peft, backward, make_cell):
    """The share of one token, some per cent at first, at least doubles."""
    cell = make_cell(
        method="ppo", architecture=architecture, peft=peft, batch=8, ppo_epochs=2,
        ppo_minibatches=2, ppo_backward=backward,
    )  # fmt: skip
    rate = 1e-3 if peft == "full" else 1e-2
    settings = PpoSettings(learning_rate=rate, value_learning_rate=1e-3, kl_coef=0.0)
    step = PpoStep(open_setup(cell, CPU, seed=0), settings)
    step.actors.reward = ShareOfToken(cell.prompt_len)
    source = open_batches(cell, vocab_size=512, seed=0)
    give_head_start(step.actors.policy, source.take(0, CPU).prompts)
    shares = [
        step.run(source.take(i, CPU), SilentProbe()).metrics["score"].item() / 20 for i in range(12)
    ]
    assert sum(shares[-3:]) / 3 > 2 * shares[0] > 0


def give_head_start(policy, prompts):
    """Point the token's output row along the mean hidden state, for a logit of about 3.

    Without it the token comes up once in 512 samples, and a batch of 128 seldom holds one.
    """
    with torch.no_grad():
        hidden = policy.base_model(input_ids=prompts).last_hidden_state.mean((0, 1))
        row = policy.get_output_embeddings().weight[ShareOfToken.token]
        row.copy_(3 * hidden / hidden.square().sum())


VARIANTS = [*((method, "separate") for method in METHODS), ("ppo", "shared")]


@pytest.mark.parametrize(*crossed(variant=VARIANTS, architecture=ARCHITECTURES, peft=PEFT_MODES))
def test_a_step_moves_what_trains_and_nothing_else(variant, architecture, peft, make_cell):
    method, topology = variant
    cell = make_cell(
        method=method, architecture=architecture, peft=peft, ppo_topology=topology, seq_len=8
    )
    step = open_method(method).build(open_setup(cell, CPU, seed=0))
    source = open_batches(cell, vocab_size=512, seed=0)
    named = {
        f"{owner}.{name}": p
        for owner, model in step.models().items()
        for name, p in model.named_parameters()
    }
    before = {name: p.detach().clone() for name, p in named.items()}
    for i in range(2):
        assert math.isfinite(step.run(take(source, method, i), SilentProbe()).loss.item())
    for name, parameter in named.items():
        moved = not torch.equal(before[name], parameter.detach())
        # Rows of the embedding that no token used have no gradient, but others have.
        assert moved == parameter.requires_grad, name
        assert parameter.grad is None


def test_bf16_base_keeps_adapters_in_fp32(make_cell):
    cell = make_cell(peft="lora", precision="bf16-base")
    policy = open_setup(cell, CPU, seed=0).policy()
    dtypes = {p.requires_grad: p.dtype for p in policy.parameters()}
    assert dtypes == {False: torch.bfloat16, True: torch.float32}


@pytest.mark.parametrize(
    *crossed(variant=VARIANTS, architecture=ARCHITECTURES, peft=["full", "lora"])
)
def test_checkpointing_changes_no_loss(variant, architecture, peft, make_cell):
    """Also where several adapters share a backbone and a block is recomputed for each of them."""
    method, topology = variant

    def losses(checkpointing):
        cell = make_cell(
            method=method, architecture=architecture, peft=peft, ppo_topology=topology, seq_len=8,
            ppo_backward="joint", checkpointing=checkpointing,
        )  # fmt: skip
        step = open_method(method).build(open_setup(cell, CPU, seed=0))
        source = open_batches(cell, vocab_size=512, seed=0)
        return [step.run(take(source, method, 0), SilentProbe()).loss.item() for _ in range(3)]

    assert losses("on") == pytest.approx(losses("off"), abs=2e-6)


@pytest.mark.parametrize(*crossed(topology=["separate", "shared"], peft=["full", "lora"]))
def test_joint_and_sequential_take_the_same_steps(topology, peft, make_cell):
    """The order of backward passes changes the memory, not what is learnt."""

    def losses(backward):
        cell = make_cell(method="ppo", ppo_backward=backward, ppo_topology=topology, peft=peft)
        step = open_method("ppo").build(open_setup(cell, CPU, seed=0))
        source = open_batches(cell, vocab_size=512, seed=0)
        return [step.run(source.take(i, CPU), SilentProbe()).loss.item() for i in range(3)]

    assert losses("joint") == pytest.approx(losses("sequential"), abs=1e-5)


@pytest.mark.parametrize("peft", PEFT_MODES)
def test_shared_holds_one_or_two_backbones(peft, make_cell):
    """full: policy and ref_model, a head on each. Adapters: one frozen base for all four models."""
    cell = make_cell(method="ppo", ppo_topology="shared", peft=peft)
    models = open_method("ppo").build(open_setup(cell, CPU, seed=0)).models()
    embeddings = {
        id(p)
        for m in models.values()
        for n, p in m.named_parameters()
        if n.endswith("embed_tokens.weight")
    }
    assert len(embeddings) == (2 if peft == "full" else 1)


def test_shared_adapters_answer_for_themselves(make_cell):
    """Policy, ref_model, value and reward model give what each gives alone on its own adapter."""
    cell = make_cell(method="ppo", ppo_topology="shared", peft="lora")
    actors = open_method("ppo").build(open_setup(cell, CPU, seed=0)).actors
    ids = torch.randint(3, 500, (2, 16), generator=torch.Generator().manual_seed(0))
    before = actors.score(ids, 8)
    with torch.no_grad():
        for name, parameter in actors.policy.named_parameters():
            if ".lora_B.value" in name:
                parameter.add_(0.05)
    after = actors.score(ids, 8)
    assert not torch.allclose(before.values, after.values, atol=1e-3)
    for field in ("logprobs", "ref_logprobs", "scores"):
        assert torch.equal(getattr(before, field), getattr(after, field)), field


@pytest.mark.parametrize("peft", PEFT_MODES)
def test_a_precomputed_ref_gives_the_losses_of_a_live_one(peft, make_cell):
    def losses(**ref):
        cell = make_cell(peft=peft, **ref)
        step = open_method("dpo").build(open_setup(cell, CPU, seed=0))
        source = open_batches(cell, vocab_size=512, seed=0)
        probe = Listening()
        step.prepare(source, probe)
        found = [step.run(source.take(i, CPU), probe).loss.item() for i in range(3)]
        return found, set(probe.heard), set(step.models())

    live, phases, _ = losses()
    stored, other, models = losses(ref="precomputed")
    assert stored == pytest.approx(live, abs=1e-6)
    assert phases - other == {"ref_forward"}
    assert other - phases == {"ref_precompute"}
    assert models == {"policy"}


def test_a_resident_ref_for_lora_is_the_untrained_policy(make_cell):
    cell = make_cell(peft="lora", ref="resident")
    step = DpoStep(open_setup(cell, CPU, seed=0), DpoSettings())
    assert set(step.models()) == {"policy", "ref"}
    batch = open_batches(cell, vocab_size=512, seed=0).take(0, CPU)
    assert step.run(batch, SilentProbe()).loss.item() == pytest.approx(math.log(2), abs=1e-6)


def test_phases_are_the_declared_ones_in_order(make_cell):
    """GRPO's ref_model has a phase where there is a KL term."""
    for method in METHODS:
        cell = make_cell(method=method, kl="k3")
        probe = Listening()
        batch = take(open_batches(cell, vocab_size=512, seed=0), method, 0)
        open_method(method).build(open_setup(cell, CPU, seed=0)).run(batch, probe)
        assert list(dict.fromkeys(probe.heard)) == list(open_method(method).phases)


def test_rollout_samples_from_the_policy(make_cell):
    """With one logit far above the rest, every sampled token is that one."""
    setup = open_setup(make_cell(), CPU, seed=0)
    policy = setup.policy()
    with torch.no_grad():
        policy.get_output_embeddings().weight.zero_()
        policy.model.norm.weight.zero_()
    prompts = torch.full((64, 4), 9)
    generator = torch.Generator().manual_seed(0)
    asked = Asked(prompts=prompts, new_tokens=8, generator=generator)
    ids = rollout(policy, asked, SilentProbe())
    assert ids.shape == (64, 12)
    assert torch.equal(ids[:, :4], prompts)
    # All logits are 0: 512 draws, uniform over 512 tokens, hold about 512 (1 - 1/e) = 324 values.
    assert 280 < len(ids[:, 4:].unique()) < 365
    assert policy.training
