"""Equal answers look like adapters that a kernel bypasses: nothing learns. What tells them apart.

The loss is ln 2 and stays there; what is left of the gradient is rounding, or nothing at all.
"""

import dataclasses
import math

import pytest
import torch

from alignmeter.batches import open_batches
from alignmeter.methods import open_method, open_setup
from alignmeter.records.record import Provenance
from alignmeter.records.reference import Reference
from alignmeter.session.findings.assemble import assemble
from alignmeter.session.findings.found import Findings
from alignmeter.session.sampling import Sampling
from alignmeter.worker.agreement import observe
from alignmeter.worker.messages import Observed

CPU = torch.device("cpu")


def observed(cell, *, equal, frozen=False):
    """The agreement steps of that cell; on pairs whose answers are the same, if wanted."""
    method, setup = open_method(cell.method), open_setup(cell, CPU, seed=0)
    source = open_batches(cell, vocab_size=setup.vocab_size, seed=0)
    if equal:
        source = dataclasses.replace(source, rows=[(row, row) for row, _ in source.rows])
    step = method.build(setup)
    if frozen:  # as a kernel that takes the raw weight leaves it
        name, adapter = next((n, p) for n, p in step.models()["policy"].named_parameters()
                             if "lora_B" in n)  # fmt: skip
        adapter.register_hook(torch.zeros_like)
        assert name
    return observe(step, source, method, CPU)


@pytest.mark.parametrize("method", ["dpo", "rm"])
def test_equal_answers_give_a_loss_of_ln_2_and_no_gradient_and_are_known(make_cell, method):
    found = observed(make_cell(method=method, peft="lora"), equal=True)
    assert found.signals["loss"] == pytest.approx([math.log(2)] * 2, abs=1e-7)
    assert max(found.signals["grad_norm"]) < 1e-5 * learning(make_cell, method)
    assert found.answers_equal


def learning(make_cell, method):
    """The gradient's norm where answers differ."""
    return observed(make_cell(method=method, peft="lora"), equal=False).signals["grad_norm"][0]


@pytest.mark.parametrize("method", ["dpo", "rm", "sft", "ppo"])
def test_answers_that_differ_are_not_to_blame(make_cell, method):
    found = observed(make_cell(method=method, peft="lora"), equal=False)
    assert not found.silent_adapters
    assert not found.answers_equal


def test_an_adapter_without_gradient_is_to_blame_where_answers_differ(make_cell):
    found = observed(make_cell(peft="lora"), equal=False, frozen=True)
    assert len(found.silent_adapters) == 1
    assert not found.answers_equal


@pytest.mark.parametrize("method", ["sft", "ppo"])
def test_what_compares_no_answers_does_not_mind_equal_ones(make_cell, method):
    found = observed(make_cell(method=method, peft="lora"), equal=True)
    assert found.signals["grad_norm"][0] > 0
    assert not found.answers_equal


@pytest.mark.parametrize("equal", [True, False])
def test_two_norms_of_rounding_do_not_blame_an_operator(make_cell, equal):
    signals = {"loss": [math.log(2)] * 2, "grad_norm": [1.6e-7, 1.5e-7]}
    observed = Observed(signals=signals, rollouts=[], silent_adapters=[], answers_equal=equal)
    found = Findings(
        cell=make_cell(), replicate=0, seed=0, sampling=Sampling(0.0), observed=observed,
        provenance=Provenance(),
        reference=Reference(signals={**signals, "grad_norm": [0.9e-7, 1.1e-7]}),
    )  # fmt: skip
    record = assemble(found)
    assert [reason.code for reason in record.validity["numerics"].reasons] == [
        "pairs_equal" if equal else "reference_disagrees"
    ]
    assert record.numerics.agrees == equal
