"""DPO and PPO train, they do not only run."""

import math

import pytest
import torch
from torch import nn

from alignmeter.batches import open_batches
from alignmeter.methods import open_method, open_setup
from alignmeter.methods.base import SilentProbe
from alignmeter.methods.dpo import DpoSettings, DpoStep
from alignmeter.methods.ppo import PpoSettings, PpoStep
from alignmeter.methods.rollout import rollout
from alignmeter.registry import METHODS

CPU = torch.device("cpu")
COMBINATIONS = [(a, p) for a in ("llama", "mamba") for p in ("full", "lora")]


@pytest.mark.parametrize(("architecture", "peft"), COMBINATIONS)
def test_dpo_learns_a_fixed_batch(architecture, peft, make_cell):
    """The loss falls well below ln 2 and every chosen answer wins."""
    cell = make_cell(architecture=architecture, peft=peft)
    rate = 1e-4 if peft == "full" else 2e-3
    step = DpoStep(open_setup(cell, CPU, seed=0), DpoSettings(learning_rate=rate, beta=0.5))
    batch = open_batches(cell, vocab_size=512, seed=0).take(0, CPU)
    outcomes = [step.run(batch, SilentProbe()) for _ in range(12)]
    assert outcomes[0].loss.item() == pytest.approx(math.log(2), abs=1e-6)
    assert outcomes[-1].loss.item() < 0.5
    assert outcomes[-1].metrics["accuracy"].item() == 1.0


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
        ("llama", "full", "sequential"), ("llama", "full", "joint"),
        ("llama", "lora", "sequential"), ("llama", "lora", "joint"),
        ("mamba", "full", "sequential"), ("mamba", "lora", "joint"),
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
    step.reward = ShareOfToken(cell.prompt_len)
    source = open_batches(cell, vocab_size=512, seed=0)
    give_head_start(step.policy, source.take(0, CPU).prompts)
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


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("architecture", ["llama", "mamba"])
@pytest.mark.parametrize("peft", ["full", "lora", "qlora"])
def test_a_step_moves_what_trains_and_nothing_else(method, architecture, peft, make_cell):
    cell = make_cell(method=method, architecture=architecture, peft=peft)
    step = open_method(method).build(open_setup(cell, CPU, seed=0))
    source = open_batches(cell, vocab_size=512, seed=0)
    named = {
        f"{owner}.{name}": p
        for owner, model in step.models().items()
        for name, p in model.named_parameters()
    }
    before = {name: p.detach().clone() for name, p in named.items()}
    for i in range(2):
        assert math.isfinite(step.run(source.take(i, CPU), SilentProbe()).loss.item())
    for name, parameter in named.items():
        moved = not torch.equal(before[name], parameter.detach())
        # Rows of the embedding that no token used have no gradient, but others have.
        assert moved == parameter.requires_grad, name
        assert parameter.grad is None


@pytest.mark.parametrize("precision", ["bf16", "bf16-mixed"])
@pytest.mark.parametrize("method", METHODS)
def test_other_precisions_agree_with_fp32(method, precision, make_cell):
    """First losses in bf16: 8 significant bits on log-probs of size 6 summed over 8 tokens."""

    def first_loss(name):
        cell = make_cell(method=method, precision=name)
        step = open_method(method).build(open_setup(cell, CPU, seed=0))
        batch = open_batches(cell, vocab_size=512, seed=0).take(0, CPU)
        return step.run(batch, SilentProbe()).loss.item()

    if method == "dpo":
        assert first_loss(precision) == pytest.approx(first_loss("fp32"), abs=0.1 * 8 * 6 * 2**-8)
    else:  # sampled tokens differ between precisions: only the range can agree
        assert math.isfinite(first_loss(precision))


def test_bf16_base_keeps_adapters_in_fp32(make_cell):
    cell = make_cell(peft="lora", precision="bf16-base")
    policy = open_setup(cell, CPU, seed=0).policy()
    dtypes = {p.requires_grad: p.dtype for p in policy.parameters()}
    assert dtypes == {False: torch.bfloat16, True: torch.float32}


@pytest.mark.parametrize("architecture", ["llama", "mamba"])
def test_checkpointing_changes_memory_not_gradients(architecture, make_cell):
    def losses(checkpointing):
        cell = make_cell(architecture=architecture, checkpointing=checkpointing)
        step = open_method("dpo").build(open_setup(cell, CPU, seed=0))
        source = open_batches(cell, vocab_size=512, seed=0)
        return [step.run(source.take(0, CPU), SilentProbe()).loss.item() for _ in range(3)]

    assert losses("on") == pytest.approx(losses("off"), abs=1e-6)


def test_joint_and_sequential_start_alike(make_cell):
    """At the first step both see the same rollout, so their summed losses are equal."""

    def first(backward):
        cell = make_cell(method="ppo", ppo_backward=backward)
        step = open_method("ppo").build(open_setup(cell, CPU, seed=0))
        batch = open_batches(cell, vocab_size=512, seed=0).take(0, CPU)
        return step.run(batch, SilentProbe()).loss.item()

    assert first("joint") == pytest.approx(first("sequential"), rel=1e-5)


def test_a_resident_ref_for_lora_is_the_untrained_policy(make_cell):
    cell = make_cell(peft="lora", ref="resident")
    step = DpoStep(open_setup(cell, CPU, seed=0), DpoSettings())
    assert set(step.models()) == {"policy", "ref"}
    batch = open_batches(cell, vocab_size=512, seed=0).take(0, CPU)
    assert step.run(batch, SilentProbe()).loss.item() == pytest.approx(math.log(2), abs=1e-6)


def test_phases_are_the_declared_ones_in_order(make_cell):
    import contextlib

    class Listening(SilentProbe):
        def __init__(self):
            self.heard = []

        @contextlib.contextmanager
        def phase(self, name):
            self.heard.append(name)
            yield

    for method in METHODS:
        cell = make_cell(method=method)
        probe = Listening()
        batch = open_batches(cell, vocab_size=512, seed=0).take(0, CPU)
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
    ids = rollout(
        policy, prompts, new_tokens=8, architecture=setup.architecture,
        generator=torch.Generator().manual_seed(0), probe=SilentProbe(),
    )  # fmt: skip
    assert ids.shape == (64, 12)
    assert torch.equal(ids[:, :4], prompts)
    # All logits are 0: 512 draws, uniform over 512 tokens, hold about 512 (1 - 1/e) = 324 values.
    assert 280 < len(ids[:, 4:].unique()) < 365
    assert policy.training
