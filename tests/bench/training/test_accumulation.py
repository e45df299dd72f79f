"""Gradient accumulation: the same step in several passes."""

import plans as check
import pytest
import torch
from crossed import crossed

from alignmeter.batches import open_batches
from alignmeter.batches.parts import parts
from alignmeter.methods import open_method, open_setup
from alignmeter.planner import predict
from alignmeter.registry import users_of
from alignmeter.session.findings.step_flops import step_flops
from alignmeter.session.resolve import resolve_cell
from alignmeter.training.step import SilentProbe

CPU = torch.device("cpu")
LENGTHS = {"data": "lengths:hh", "batching": "padded", "seq_len": 48}


def opened(cell):
    setup = open_setup(cell, CPU, seed=0)
    step, method = open_method(cell.method).build(setup), open_method(cell.method)
    return step, method, open_batches(cell, vocab_size=setup.vocab_size, seed=0)


def first_step(cell):
    """Outcome of the first step and the gradients that its optimizer was given."""
    (step, method, batches), found = opened(cell), []
    (optimizer,) = step.optimizers()
    optimizer.register_step_pre_hook(
        lambda made, *_: found.extend(
            p.grad.clone() for g in made.param_groups for p in g["params"]
        )
    )
    step.prepare(batches, SilentProbe())
    return step.run(batches.take(0, CPU, method.rows), SilentProbe()), found


@pytest.mark.parametrize(*crossed(method=users_of("microbatches"), more=[{}, LENGTHS]))
def test_passes_over_parts_are_the_whole(method, more, make_cell):
    """Loss, metrics and gradients; three parts of five pairs are not equal."""
    axes = {"method": method, "batch": 5, "kernels": "custom", **more}
    one, gradients = first_step(make_cell(**axes))
    several, theirs = first_step(make_cell(**axes, microbatches=3))
    assert float(several.loss) == pytest.approx(float(one.loss), abs=1e-6)
    assert several.metrics.keys() == one.metrics.keys()
    for name, value in one.metrics.items():
        assert float(several.metrics[name]) == pytest.approx(float(value), rel=1e-5)
    if one.accuracy is not None:
        assert float(several.accuracy) == pytest.approx(float(one.accuracy), abs=1e-6)
    assert several.trained_tokens == one.trained_tokens
    assert several.padded_tokens == one.padded_tokens
    assert len(theirs) == len(gradients)  # the optimizer stepped once
    for mine, its in zip(gradients, theirs, strict=True):
        torch.testing.assert_close(its, mine, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("rows", ["pairs", "chosen"])
@pytest.mark.parametrize("more", [{}, LENGTHS], ids=["fixed", "padded"])
def test_every_row_is_in_one_part_and_pairs_stay_together(rows, more, make_cell):
    cell = make_cell(method="dpo", batch=5, **more)
    batch = open_batches(cell, vocab_size=512, seed=0).take(0, CPU, rows)
    found = list(parts(batch, 3, rows))
    assert [number for part in found for number in part.pairs] == list(batch.pairs)
    assert sum(part.response_mask.sum() for part in found) == batch.response_mask.sum()
    for part in found:
        longest = batch.ids.shape[1] if not more else max(part.spans.lengths)
        assert part.ids.shape == (len(part.response_mask), longest)
        sides = 2 if rows == "pairs" else 1
        wholes = batch.ids.chunk(sides)
        for mine, whole in zip(part.ids.chunk(sides), wholes, strict=True):
            at = [batch.pairs.index(pair) for pair in part.pairs]
            assert torch.equal(mine, whole[at, :longest])


@pytest.mark.full
@pytest.mark.parametrize(
    "axes",
    [
        pytest.param({"method": "sft", "kernels": "custom"}, marks=pytest.mark.exhaustive),
        {"method": "dpo", "peft": "lora", "ref": "precomputed"},
        pytest.param(
            {"method": "rm", "architecture": "mamba2", "kernels": "custom"},
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            {"method": "orpo", "checkpointing": "on", **LENGTHS}, marks=pytest.mark.exhaustive
        ),
    ],
    ids=lambda axes: axes["method"],
)
def test_a_plan_knows_what_lives_from_pass_to_pass(axes, make_cell, launcher):
    """Gradients do; activations are those of one part."""
    cell = make_cell(**axes, batch=4, microbatches=3)
    plan, measured = predict(cell), check.measure(cell, launcher)
    assert plan.peak_bytes == pytest.approx(measured.peak_bytes, rel=0.01)
    assert plan.phases == pytest.approx(measured.phase_peaks, rel=0.02)


@pytest.mark.exhaustive
def test_activations_are_those_of_a_part(make_cell):
    axes = {"method": "sft", "size": "130m", "accelerator": "cuda", "seq_len": 512, "batch": 4}
    whole, parted, alone = (
        predict(make_cell(**axes | more)).ledger["activations_bytes"]
        for more in ({}, {"microbatches": 4}, {"batch": 1})
    )
    assert parted == pytest.approx(alone, rel=0.01)
    assert whole > 3 * alone


def test_passes_cost_what_the_whole_costs(make_cell):
    axes = {"method": "dpo", "batch": 4}
    assert step_flops(make_cell(**axes, microbatches=2)) == step_flops(make_cell(**axes))


@pytest.mark.parametrize(("method", "most"), [("dpo", "2 pairs"), ("sft", "4 rows")])
def test_no_pass_is_empty(method, most):
    planned = resolve_cell({"accelerator": "cpu", "method": method, "microbatches": 5})
    assert planned.unsupported.text == (
        f"5 microbatches want more than the {most} of a step; use {most[0]} or fewer"
    )


def test_methods_that_cannot_be_divided_have_none(make_cell):
    for method in ("kto", "ppo", "grpo", "rloo", "distill"):
        assert make_cell(method=method, microbatches=2) == make_cell(method=method)
