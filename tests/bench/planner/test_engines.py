"""Plans of rollout engines: within 1 % where they are made, refused with a reason where not."""

import gc

import msgspec
import pytest

from alignmeter.accelerators import open_accelerator
from alignmeter.planner.engines import unplanned_peak
from alignmeter.planner.trace import NotPlannedError, predict
from alignmeter.worker.memory.ledger import live_tensors
from alignmeter.worker.memory.torch_internals import storage_key
from alignmeter.worker.workload import Workload


def alive_bytes():
    """Of the tensors with data in this process, whosever they are."""
    gc.collect()
    storages = {storage_key(s): s.nbytes() for s in (t.untyped_storage() for t in live_tensors())}
    return sum(storages.values())


CELLS = [
    {"method": "ppo", "architecture": "llama", "peft": "lora"},
    {"method": "grpo", "architecture": "mamba2", "peft": "qlora"},
    {"method": "distill", "architecture": "mamba", "checkpointing": "on"},
    # A long response of many rows: a kept cache is a fifth of the peak.
    {"method": "rloo", "peft": "lora", "checkpointing": "on", "seq_len": 128, "prompt_len": 8,
     "batch": 4, "reward": "length"},
]  # fmt: skip


FEW = {("grpo", "compiled")}
"""Each engine once; the others take half a minute."""


@pytest.mark.full
@pytest.mark.parametrize(
    ("axes", "engine"),
    [
        pytest.param(
            axes,
            engine,
            id=f"{axes['method']}-{engine}",
            marks=() if (axes["method"], engine) in FEW else pytest.mark.exhaustive,
        )
        for axes in CELLS
        for engine in ("static", "compiled")
    ],
)
def test_a_plan_of_an_engine_is_within_one_per_cent(axes, engine, make_cell, traced_only):
    cell = make_cell(**{"kernels": "custom", **axes}, rollout=engine)
    of_others = alive_bytes()
    load = Workload(cell, 0)
    load.build()
    load.prepare()
    load.agreement([])
    profile, prediction = load.memory_step(), predict(cell)
    assert prediction.peak_bytes == pytest.approx(profile.peak_bytes - of_others, rel=0.01)
    rollout = prediction.phases["rollout"], profile.phase_peaks["rollout"] - of_others
    if engine == "compiled":  # Dynamo fuses nothing, but frees earlier
        assert rollout[0] >= 0.99 * rollout[1]
    else:
        assert rollout[0] == pytest.approx(rollout[1], rel=0.01)
    planned, found = (x.ledger["rollout_cache_bytes"] for x in (prediction, profile))
    assert planned == found
    assert (found > 0) == (engine == "compiled")


def test_what_only_a_measurement_can_tell_has_no_plan(make_cell):
    for engine, accelerator, why in (
        ("compiled", "cuda", "graphs"),
        ("compiled", "rocm", "graphs"),
        ("vllm", "cpu", "its own"),
    ):
        cell = msgspec.structs.replace(
            make_cell(method="grpo"), rollout=engine, accelerator=accelerator
        )
        with pytest.raises(NotPlannedError, match=why):
            predict(cell)
    assert open_accelerator("xpu").records_graphs is False


def test_a_peak_in_a_compiled_step_is_the_compilers(make_cell):
    prediction = predict(make_cell(method="grpo", reward="length", rollout="compiled"))
    assert unplanned_peak(prediction.cell, prediction.peak_phase) is None
    assert "the compiler decides" in unplanned_peak(prediction.cell, "rollout")
    assert unplanned_peak(make_cell(method="grpo"), "rollout") is None
