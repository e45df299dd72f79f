"""Rates and times of steps whose batches differ in length are those of all steps together."""

import pytest

from alignmeter.accelerators import device_or_host
from alignmeter.accelerators.provenance import collect
from alignmeter.session.findings.least_time import LeastTime
from alignmeter.session.findings.throughput import throughput, typical
from alignmeter.session.resolve import resolve_cell
from alignmeter.worker.messages import StepReport, StepSpans


def step(seconds, trained, padded):
    return StepReport(
        seconds=seconds, phases={}, spans=StepSpans(start_s=0.0, end_s=seconds, phases=[]),
        loss=0.0, trained_tokens=trained, padded_tokens=padded, generated_tokens=0,
        others_share=0.0,
    )  # fmt: skip


STEPS = [step(1.0, 100, 0), step(2.0, 120, 60), step(6.0, 140, 210)]


@pytest.mark.parametrize(
    ("batching", "seconds", "trained", "padded"),
    [
        ("fixed", 2.0, 60.0, 30.0),  # the median of 100, 60 and 23.3; of 0, 30 and 35
        ("padded", 3.0, 40.0, 30.0),  # 360 and 270 tokens in 9 s
        ("bucketed", 3.0, 40.0, 30.0),
    ],
)
def test_rates(batching, seconds, trained, padded):
    cell = resolve_cell({"accelerator": "cpu", "data": "synthetic", "batching": batching}).cell
    found = throughput(cell, STEPS, collect(device_or_host("cpu"), None), LeastTime())
    assert typical(cell, [report.seconds for report in STEPS]) == seconds
    assert (found.trained_tokens_per_s, found.padded_tokens_per_s) == (trained, padded)
    assert found.generated_tokens_per_s is None
    counted = f"the FLOPs of rows of their own lengths (batching {batching}) are not counted"
    assert (found.mfu_reason == counted) == (batching != "fixed")
    assert bool(found.flops) == (batching == "fixed")


@pytest.mark.parametrize("batching", ["fixed", "padded"])
def test_of_no_steps_there_is_none(batching):
    cell = resolve_cell({"accelerator": "cpu", "data": "synthetic", "batching": batching}).cell
    found = throughput(cell, [], collect(device_or_host("cpu"), None), LeastTime())
    assert typical(cell, []) is None
    assert (found.trained_tokens_per_s, found.padded_tokens_per_s) == (None, None)
