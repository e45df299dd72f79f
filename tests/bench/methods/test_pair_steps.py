"""Steps of today's methods on pairs, and distillation: each learns what it is for."""

import pytest
import torch
from crossed import crossed

from alignmeter.batches import open_batches
from alignmeter.methods import open_method, open_setup
from alignmeter.methods.distill import DistillSettings, DistillStep
from alignmeter.methods.dpo import DpoSettings, DpoStep
from alignmeter.methods.kto import KtoSettings, KtoStep, mismatched
from alignmeter.methods.losses.distill import divergence
from alignmeter.methods.losses.dpo import DPO_LOSSES
from alignmeter.methods.orpo import OrpoSettings, OrpoStep
from alignmeter.methods.simpo import SimpoSettings, SimpoStep
from alignmeter.training.step import SilentProbe

CPU = torch.device("cpu")
MODELS = [(a, p) for a in ("llama", "mamba") for p in ("full", "lora")]
LEARNERS = {
    **{
        f"dpo-{kind}": ({"method": "dpo", "dpo_loss": kind}, DpoStep, DpoSettings, {"beta": 0.5})
        for kind in DPO_LOSSES
        if kind != "sigmoid"
    },
    "kto": ({"method": "kto"}, KtoStep, KtoSettings, {"beta": 0.5}),
    "simpo": ({"method": "simpo"}, SimpoStep, SimpoSettings, {}),
    "orpo": ({"method": "orpo"}, OrpoStep, OrpoSettings, {}),
}


@pytest.mark.parametrize(*crossed(name=LEARNERS, model=MODELS))
def test_a_fixed_batch_is_learnt(name, model, make_cell):
    """No chosen answer or not all of them win at first, all do in the end; the loss has halved, or
    for ORPO, most of which is the likelihood of whole sequences, lost a nat.
    """
    axes, kind, settings, chosen = LEARNERS[name]
    architecture, peft = model
    cell = make_cell(architecture=architecture, peft=peft, **axes)
    rate = 1e-4 if peft == "full" else 2e-3
    step = kind(open_setup(cell, CPU, seed=0), settings(learning_rate=rate, **chosen))
    batch = open_batches(cell, vocab_size=512, seed=0).take(0, CPU)
    outcomes = [step.run(batch, SilentProbe()) for _ in range(10)]
    first, last = outcomes[0], outcomes[-1]
    assert first.accuracy.item() < 1.0
    assert last.accuracy.item() == 1.0
    wanted = first.loss.item() - 1 if name == "orpo" else 0.5 * first.loss.item()
    assert last.loss.item() < wanted


def first_loss(cell):
    step = open_method(cell.method).build(open_setup(cell, CPU, seed=0))
    batch = open_batches(cell, vocab_size=512, seed=0).take(0, CPU)
    return step.run(batch, SilentProbe()).loss.item()


@pytest.mark.parametrize("peft", ["full", "lora"])
@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ({"method": "dpo"}, 0.693147),
        ({"method": "dpo", "dpo_loss": "ipo"}, 25.0),  # 1 / (2 x 0.1), squared
        ({"method": "dpo", "dpo_loss": "apo-zero"}, 1.0),
        ({"method": "dpo", "dpo_loss": "hinge"}, 1.0),
        ({"method": "kto"}, 0.5),
    ],
)
def test_a_first_loss_is_what_the_method_says(axes, expected, peft, make_cell):
    cell = make_cell(peft=peft, **axes)
    assert open_method(cell.method).first_loss(cell) == pytest.approx(expected, abs=1e-6)
    assert first_loss(cell) == pytest.approx(expected, rel=1e-5)


def test_whose_first_loss_nobody_knows_says_none(make_cell):
    for method in ("simpo", "orpo", "grpo", "rloo", "distill"):
        assert open_method(method).first_loss(make_cell(method=method)) is None


def test_kto_takes_its_reference_point_from_answers_to_other_prompts(make_cell):
    """Each prompt with the response, and the padding, of the row before."""
    cell = make_cell(method="kto", batch=2)
    batch = open_batches(cell, vocab_size=512, seed=0).take(0, CPU)
    batch.response_mask[3, 5:] = 0
    ids, mask, length = mismatched(batch, cell.seq_len)
    assert length == batch.prompt_len
    for row, other in enumerate((3, 0, 1, 2)):
        assert torch.equal(ids[row, :length], batch.ids[row, :length])
        assert torch.equal(ids[row, length:], batch.ids[other, length:])
        assert torch.equal(mask[row], batch.response_mask[other])
        assert not torch.equal(batch.prompts[row], batch.prompts[other])


def test_orpo_counts_every_token_of_the_chosen_sequences(make_cell):
    """The likelihood of all but the first, and of the responses what SimPO sees of them."""
    cell = make_cell(method="orpo", batch=1)
    setup = open_setup(cell, CPU, seed=0)
    step = OrpoStep(setup, OrpoSettings(weight=0.0))
    batch = open_batches(cell, vocab_size=512, seed=0).take(0, CPU)
    with torch.no_grad():
        logits = step.policy(input_ids=batch.ids[:1]).logits[0, :-1]
    expected = torch.nn.functional.cross_entropy(logits, batch.ids[0, 1:]).item()
    outcome = step.run(batch, SilentProbe())
    assert outcome.loss.item() == pytest.approx(expected, rel=1e-5)
    simpo = SimpoStep(open_setup(cell, CPU, seed=0), SimpoSettings())
    seen = simpo.run(batch, SilentProbe()).metrics["logprob"].item()
    assert outcome.metrics["logprob"].item() == pytest.approx(seen, rel=1e-5)


@pytest.mark.parametrize(
    ("architecture", "peft", "rate", "left"),
    [
        ("llama", "full", 1e-3, 0.4),
        ("llama", "lora", 3e-3, 0.7),
        pytest.param("mamba", "full", 2e-3, 0.97, marks=pytest.mark.exhaustive),
        pytest.param("mamba", "lora", 2e-3, 0.99, marks=pytest.mark.exhaustive),
    ],
)
def test_distillation_brings_the_student_to_its_teacher(architecture, peft, rate, left, make_cell):
    """On text that neither of them wrote: on its own samples a student could only change these.

    A random Mamba is far from another one, and its divergence falls slowly.
    """
    cell = make_cell(method="distill", architecture=architecture, peft=peft, batch=4)
    step = DistillStep(open_setup(cell, CPU, seed=0), DistillSettings(learning_rate=rate))
    batch = open_batches(cell, vocab_size=512, seed=0).take(0, CPU, "chosen")

    @torch.no_grad()
    def apart():
        student, teacher = (m(input_ids=batch.ids).logits for m in (step.policy, step.teacher))
        return divergence(student, teacher, beta=1.0).mean().item()

    before = apart()
    for _ in range(12):
        step.run(batch, SilentProbe())
    assert apart() < left * before


def test_custom_kernels_distil_in_parts_what_stock_does_in_one(make_cell):
    def losses(kernels):
        cell = make_cell(method="distill", kernels=kernels)
        step = open_method("distill").build(open_setup(cell, CPU, seed=0))
        source = open_batches(cell, vocab_size=512, seed=0)
        batches = [source.take(i, CPU, "chosen") for i in range(3)]
        return [step.run(batch, SilentProbe()).loss.item() for batch in batches]

    assert losses("custom") == pytest.approx(losses("stock"), rel=1e-5)
