"""A GPU that disappears while a cell is measured: real NVML client, stub of its library."""

import functools

import faulty_worker
import pytest
from nvml_stub import H100_SXM, build_nvml
from stub_libraries import NO_COMPILER, Clock, Scenario, compiler

from alignmeter.session import Planned, Settings, measure


@pytest.mark.exhaustive
@pytest.mark.skipif(compiler() is None, reason=NO_COMPILER)
def test_a_device_lost_in_the_energy_window(tmp_path, monkeypatch, launcher, make_cell):
    """Steps and bytes stand; energy is missing, and the reason is the driver's."""
    library = build_nvml(tmp_path)
    scenario = Scenario([H100_SXM | {"lost_at": 9}]).write(tmp_path / "scenario")
    clock = Clock(tmp_path / "clock")
    target = functools.partial(
        faulty_worker.serve_with,
        arrange=faulty_worker.lose_device,
        arguments=(str(library.with_name("stub-nvml.so")), str(scenario), str(clock.path), 9),
    )
    monkeypatch.setattr("alignmeter.session.launcher.serve", target)
    plan = Planned(cell=make_cell(), unsupported=None)
    steps = Settings(steps=3, warmup=1, seed=0, timeout_s=120, sample_hz=0)
    record = measure(plan, 0, steps, launcher).record
    assert (record.status, record.reason) == ("ok", None)
    assert len(record.timing.step_s) == 3
    assert record.energy.source == "none"
    assert record.energy.reason.code == "energy_unavailable"
    assert "lost" in record.energy.reason.text
    assert record.energy.window_s > 0.0
    assert not record.validity["energy"].ok
    assert record.validity["memory"].ok
