"""Before a run: cells that a plan says do not fit are records, and cost no hour."""

import pytest

from alignmeter.planner import NotPlannedError
from alignmeter.planner import forecast as module
from alignmeter.planner.forecast import forecast
from alignmeter.records.record import Reason
from alignmeter.session import Settings, measure
from alignmeter.session.resolve import Planned
from alignmeter.telemetry.linux.limits import MemoryLimit

QUICK = Settings(steps=2, warmup=1, timeout_s=120)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def host_with(monkeypatch, mib):
    memory = MemoryLimit(total_bytes=2**34, free_bytes=round(mib * 2**20))
    monkeypatch.setattr(module, "host_memory", lambda: memory)


class NoLauncher:
    """Whoever asks it for a worker has lost."""

    def start(self):
        pytest.fail("a worker was started")


def test_a_cell_that_does_not_fit_is_a_record_and_no_worker(monkeypatch, make_cell):
    host_with(monkeypatch, 5)
    (planned,) = forecast([Planned(cell=make_cell(), unsupported=None)], pytest.fail)
    record = measure(planned, 0, QUICK, NoLauncher()).record
    assert record.status == "predicted_oom"
    assert record.reason.code == "predicted_out_of_memory"
    assert "5 MiB on this host now" in record.reason.text
    assert record.memory.predicted_peak_bytes == planned.predicted_peak_bytes > 5 * 2**20
    assert record.memory.allocated_peak_bytes is None


def test_ranks_of_a_cpu_share_the_hosts_memory(monkeypatch, make_cell):
    """Enough for one of two, and not for both."""
    axes = {"method": "sft", "world_size": 2, "parallel": "fsdp2", "batch": 2}
    planned = Planned(cell=make_cell(**axes), unsupported=None)
    (found,) = forecast([planned], pytest.fail)
    host_with(monkeypatch, 1.5 * found.predicted_peak_bytes / 2**20)
    (found,) = forecast([planned], pytest.fail)
    assert "peak on each of 2 devices" in found.predicted_oom.text
    host_with(monkeypatch, 2 * found.predicted_peak_bytes / 2**20)
    (found,) = forecast([planned], pytest.fail)
    assert found.predicted_oom is None


@pytest.mark.full
def test_a_cell_that_fits_holds_prediction_and_measurement_side_by_side(make_cell, launcher):
    (planned,) = forecast([Planned(cell=make_cell(method="rm"), unsupported=None)], pytest.fail)
    assert planned.predicted_oom is None
    memory = measure(planned, 0, QUICK, launcher).record.memory
    assert memory.predicted_peak_bytes == pytest.approx(memory.allocated_peak_bytes, rel=0.01)


def test_a_plan_that_fails_is_told_and_the_cell_measured_without(monkeypatch, make_cell):
    def broken(cell):
        raise NotPlannedError("x.y needs values")

    monkeypatch.setattr(module, "plan_cell", broken)
    said = []
    planned = Planned(cell=make_cell(), unsupported=None)
    assert forecast([planned], said.append) == [planned]
    assert said == [f"{planned.cell.id}: no plan: x.y needs values"]


def test_what_cannot_run_here_is_not_planned(monkeypatch, make_cell):
    monkeypatch.setattr(module, "plan_cell", lambda _: pytest.fail("planned"))
    reason = Reason(code="impossible", text="x")
    planned = Planned(cell=make_cell(), unsupported=reason)
    counted = []
    assert forecast([planned], pytest.fail, lambda: counted.append(1)) == [planned]
    assert counted == [1]
