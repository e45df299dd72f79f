"""SFT on any number of rows: demonstrations are no pairs."""

import plans as check
import pytest
import torch
from crossed import thinned

from alignmeter.batches import open_batches
from alignmeter.methods import open_method, open_setup
from alignmeter.planner import largest_batch, predict
from alignmeter.registry import METHODS
from alignmeter.session.findings.step_flops import step_flops
from alignmeter.training.step import SilentProbe

CPU = torch.device("cpu")
LENGTHS = {"data": "lengths:hh", "batching": "padded", "seq_len": 48}


@pytest.mark.parametrize("more", [{}, LENGTHS], ids=["fixed", "padded"])
def test_steps_take_consecutive_rows(more, make_cell):
    cell = make_cell(method="sft", rows=3, **more)
    batches = open_batches(cell, vocab_size=512, seed=0)
    first, second = (batches.take(step, CPU, "chosen") for step in range(2))
    assert first.pairs == (0, 1, 2)
    assert second.pairs == (3, 4, 5)
    assert len(first.ids) == len(first.response_mask) == 3
    whole = open_batches(make_cell(method="sft", batch=3, **more), vocab_size=512, seed=0)
    six = whole.take(0, CPU, "chosen")
    width = min(first.ids.shape[1], six.ids.shape[1])
    assert torch.equal(first.ids[:, :width], six.ids[:3, :width])


def test_one_row_is_a_step(make_cell):
    cell = make_cell(method="sft", rows=1)
    setup = open_setup(cell, CPU, seed=0)
    step = open_method("sft").build(setup)
    batch = open_batches(cell, vocab_size=512, seed=0).take(0, CPU, "chosen")
    outcome = step.run(batch, SilentProbe())
    assert outcome.trained_tokens == cell.seq_len
    assert float(outcome.loss) == pytest.approx(6.24, abs=0.5)  # ln 512


@pytest.mark.full
@pytest.mark.parametrize("axes", thinned([
    {"rows": 5, "microbatches": 2, "kernels": "custom"}, {"rows": 3}, {"rows": 1, "peft": "lora"},
    {"rows": 3, **LENGTHS},
], every=4))  # fmt: skip
def test_a_plan_knows_how_many(axes, make_cell, launcher):
    cell = make_cell(method="sft", **axes)
    plan, measured = predict(cell), check.measure(cell, launcher)
    assert plan.peak_bytes == pytest.approx(measured.peak_bytes, rel=0.01)
    assert plan.ledger["batch_bytes"] == measured.ledger["batch_bytes"]


def test_twice_the_pairs_is_the_same_work(make_cell):
    four, pairs = make_cell(method="sft", rows=4), make_cell(method="sft", batch=2)
    assert step_flops(four) == step_flops(pairs)
    assert predict(four).phases == predict(pairs).phases
    assert four.id != pairs.id


def test_rows_leave_batch_without_effect_and_others_have_none(make_cell):
    assert make_cell(method="sft", rows=3, batch=7) == make_cell(method="sft", rows=3)
    for method in METHODS:
        if method != "sft":
            assert make_cell(method=method, rows=3, batch=3) == make_cell(method=method, batch=3)


@pytest.mark.exhaustive
def test_the_largest_batch_is_looked_for_in_pairs(make_cell):
    long = {"method": "sft", "seq_len": 256}
    cell = make_cell(**long, rows=3)

    def plan(axes):
        return predict(make_cell(**long, **{"rows": 3, **axes}))

    memory = 2**30 + 400 * 2**20
    assert largest_batch(cell, memory, plan) == largest_batch(make_cell(**long), memory, plan) > 1
