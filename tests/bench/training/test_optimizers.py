"""Optimizers: what they keep, what they step, and what a plan knows of both."""

import plans as check
import pytest
import torch
from crossed import thinned

from alignmeter.batches import open_batches
from alignmeter.methods import open_method, open_setup
from alignmeter.planner import predict
from alignmeter.records.reference import reference_key
from alignmeter.registry import OPTIMIZERS
from alignmeter.session.resolve import resolve_cell
from alignmeter.training.optimizers import eight_bit, muon
from alignmeter.training.step import SilentProbe

CPU = torch.device("cpu")
BYTES = {
    "adamw": 8.0, "adamw-8bit": 2.04, "paged-adamw-8bit": 2.04, "adafactor": 0.04, "muon": 4.4,
}  # fmt: skip
"""Of a tiny llama's state, per trained weight."""


def state_bytes(optimizer):
    tensors = (v for state in optimizer.state.values() for v in state.values())
    storages = {
        t.untyped_storage().data_ptr(): t.nbytes for t in tensors if isinstance(t, torch.Tensor)
    }
    return sum(storages.values())


def stepped(cell, steps=2):
    """The step of the cell after some, and the losses of these."""
    setup = open_setup(cell, CPU, seed=0)
    step, method = open_method(cell.method).build(setup), open_method(cell.method)
    batches = open_batches(cell, vocab_size=setup.vocab_size, seed=0)
    batch = batches.take(0, CPU, method.rows)
    return step, [float(step.run(batch, SilentProbe()).loss) for _ in range(steps)]


@pytest.mark.parametrize("optimizer", thinned(OPTIMIZERS, every=3))
def test_the_state_is_as_large_as_the_page_says(optimizer, make_cell):
    step, losses = stepped(make_cell(method="sft", optimizer=optimizer), steps=3)
    (made,) = step.optimizers()
    trained = sum(p.numel() for group in made.param_groups for p in group["params"])
    assert trained == sum(p.numel() for p in step.policy.parameters())
    assert state_bytes(made) / trained == pytest.approx(BYTES[optimizer], abs=0.05)
    assert losses[0] > losses[1] > losses[2]


def test_implementations_of_adamw_differ_by_rounding_alone(make_cell):
    first, *others = (
        stepped(make_cell(method="sft", optimizer_impl=name), steps=3)[1]
        for name in ("fused", "foreach", "single")
    )
    for losses in others:
        assert losses == pytest.approx(first, rel=1e-5)


@pytest.mark.full
@pytest.mark.parametrize("axes", thinned([
    {"method": "dpo", "optimizer": "adamw-8bit", "kernels": "custom"},
    {"method": "dpo", "optimizer_impl": "foreach"},
    {"method": "sft", "optimizer": "adamw-8bit", "precision": "bf16"},
    {"method": "ppo", "optimizer": "muon", "ppo_topology": "shared"},
    {"method": "rm", "optimizer": "paged-adamw-8bit", "peft": "lora"},
    {"method": "sft", "optimizer": "adafactor", "precision": "bf16"},
    {"method": "sft", "optimizer_impl": "single", "precision": "bf16"},
    {"method": "sft", "optimizer": "muon", "architecture": "mamba2", "kernels": "custom"},
], every=3), ids=lambda axes: "-".join(axes.values()))  # fmt: skip
def test_a_plan_has_state_and_temporaries(axes, make_cell, launcher):
    """Of every phase, the optimizer's too."""
    cell = make_cell(**axes)
    plan, measured = predict(cell), check.measure(cell, launcher)
    assert plan.peak_bytes == pytest.approx(measured.peak_bytes, rel=0.001)
    assert plan.phases == pytest.approx(measured.phase_peaks, rel=0.001)
    for owner in ("optimizer_state", "policy_weights", "adapters"):
        assert plan.ledger[f"{owner}_bytes"] == measured.ledger[f"{owner}_bytes"]


@pytest.mark.full
def test_what_is_paged_is_no_memory_of_a_gpu(make_cell):
    """The moments of embeddings [512, 192] are 98 304 values and stay; of a size more, none does.

    130m, full: every matrix has more than 100 000 values, so what stays are floats per block.
    """
    axes = {"method": "sft", "size": "130m", "accelerator": "cuda", "precision": "bf16"}
    plans = {n: predict(make_cell(**axes, optimizer=n)) for n in ("adamw-8bit", "paged-adamw-8bit")}
    whole, paged = (plan.ledger["optimizer_state_bytes"] for plan in plans.values())
    trained = plans["adamw-8bit"].trained_parameters
    assert whole == pytest.approx((2 + 8 / 256) * trained, rel=0.01)
    assert paged == pytest.approx(8 / 256 * trained, rel=0.05)


def test_a_gpus_kernels_hold_nothing_beside_the_state(make_cell):
    axes = {"method": "sft", "accelerator": "cuda", "precision": "bf16", "optimizer": "adamw-8bit"}
    plan = predict(make_cell(**axes))
    resident = sum(
        plan.ledger[f"{name}_bytes"]
        for name in ("policy_weights", "gradients", "optimizer_state", "batch", "library_workspace")
    )
    assert plan.phases["optimizer"] - resident < 0.02 * plan.phases["optimizer"]


@pytest.mark.parametrize("peft", ["full", "lora"])
def test_muon_steps_inner_matrices_and_adamw_the_rest(peft, make_cell):
    step, _ = stepped(make_cell(method="rm", optimizer="muon", peft=peft), steps=1)
    (made,) = step.optimizers()
    names = {id(p): name for name, p in step.reward.named_parameters()}
    momentum, moments = (
        {names[id(p)] for p, state in made.state.items() if key in state}
        for key in ("momentum_buffer", "exp_avg_sq")
    )
    assert all("proj" in name for name in momentum)
    assert not any("proj" in name for name in moments)
    assert "score.weight" in moments
    assert len(momentum) == (2 if peft == "lora" else 1) * 7 * 3


def test_what_has_no_kernel_for_a_cpu_can_be_planned_and_not_run(make_cell, monkeypatch):
    axes = {"accelerator": "cpu", "data": "synthetic", "seq_len": 16, "optimizer": "adamw-8bit"}
    monkeypatch.setattr(eight_bit, "version", lambda _: "0.49.2")
    planned = resolve_cell(axes)
    assert planned.unsupported.code == "library_missing"
    assert planned.unsupported.text == (
        "bitsandbytes 0.49.2 has no adamw-8bit for cpu; 0.50 or later has: pip install -U "
        "'alignmeter[qlora]'"
    )
    assert predict(planned.cell).ledger["optimizer_state_bytes"] > 0
    monkeypatch.setattr(muon, "_LEAST", "99.0")
    planned = resolve_cell(axes | {"optimizer": "muon"})
    assert planned.unsupported.text.startswith("torch 2.")


def test_an_optimizer_has_a_reference_of_its_own_and_an_implementation_has_not(make_cell):
    def key(**axes):
        return reference_key(make_cell(**axes), {}, seed=0, layers=None, rounded=False)

    assert key() == key(optimizer_impl="foreach")
    assert len({key(optimizer=name) for name in OPTIMIZERS}) == len(OPTIMIZERS)
    assert make_cell(optimizer="muon", optimizer_impl="single") == make_cell(optimizer="muon")
