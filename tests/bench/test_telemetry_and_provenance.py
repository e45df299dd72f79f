"""Energy counters on a made-up powercap tree, accelerators and provenance of this process."""

import itertools

import pytest

from alignmeter.accelerators import available, missing_text, open_accelerator
from alignmeter.errors import InputError
from alignmeter.provenance import collect, environment_digest, source_commit
from alignmeter.registry import ACCELERATORS, TELEMETRY, load
from alignmeter.session.energy import measure_energy
from alignmeter.telemetry import open_telemetry
from alignmeter.telemetry.rapl import open_rapl


def package(folder, number, energy_uj, wraps_at_uj=1000):
    zone = folder / f"intel-rapl:{number}"
    zone.mkdir()
    (zone / "name").write_text(f"package-{number}\n")
    (zone / "energy_uj").write_text(f"{energy_uj}\n")
    (zone / "max_energy_range_uj").write_text(f"{wraps_at_uj}\n")
    return zone / "energy_uj"


def test_rapl_sums_packages_and_survives_a_wrap(tmp_path):
    first, second = package(tmp_path, 0, 900), package(tmp_path, 1, 100)
    core = tmp_path / "intel-rapl:0:0"
    core.mkdir()
    counter = open_rapl(tmp_path)
    assert counter.missing() is None
    start = counter.read_j()
    first.write_text("50")  # 100 uJ to the wrap, then 50
    second.write_text("400")
    assert counter.read_j() - start == pytest.approx(450e-6)


def test_rapl_says_what_is_missing(tmp_path):
    counter = open_rapl(tmp_path)
    reason = counter.missing()
    assert reason is not None
    assert "no RAPL package" in reason
    with pytest.raises(RuntimeError, match="no RAPL"):
        counter.read_j()


def test_rapl_that_only_root_may_read(tmp_path, monkeypatch):
    package(tmp_path, 0, 1)
    from pathlib import Path

    read = Path.read_text

    def guarded(self, *args, **kwargs):
        if self.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(self))
        return read(self, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", guarded)
    reason = open_rapl(tmp_path).missing()
    assert reason is not None
    assert "root only" in reason


class ScriptedCounter:
    """10 J per step, whatever the clock does."""

    scope, tick_s = "socket", 0.001

    def __init__(self):
        self.steps = 0

    def missing(self):
        return None

    def read_j(self):
        return 5.0 + 10.0 * self.steps

    def step(self):
        self.steps += 1


def test_energy_is_whole_steps_between_two_readings(monkeypatch):
    """The clock moves 0.1 s a look: a 2 s window holds some 20 looks; each step costs 10 J."""
    clock = itertools.count(0.0, 0.1)
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    counter = ScriptedCounter()
    energy = measure_energy(counter, counter.step, least_s=2.0)
    assert energy.source == "counter"
    assert energy.per_step_j == pytest.approx(10.0)
    assert energy.window_s is not None
    assert energy.window_s >= 2.0
    assert energy.mean_w == pytest.approx(10.0 * counter.steps / energy.window_s)
    assert energy.bound_j == pytest.approx(2 * 0.001 * energy.mean_w / counter.steps)


def test_energy_without_a_counter_has_a_reason_and_runs_no_step():
    energy = measure_energy(open_telemetry("xpu"), lambda: pytest.fail("a step was run"))
    assert (energy.source, energy.per_step_j) == ("none", None)
    assert energy.reason is not None
    assert energy.reason.code == "energy_unavailable"


def test_the_cpu_is_always_here():
    assert available()[-1] == "cpu"
    assert missing_text("cpu") is None
    cpu = open_accelerator("cpu")
    (device,) = cpu.devices()
    assert device.name
    assert device.memory_bytes is not None
    assert device.memory_bytes > 2**28
    assert cpu.peaks(reset=True) is None
    assert "VRAM" not in cpu.memory_kind.upper()


@pytest.mark.parametrize("name", [n for n in ACCELERATORS if n != "cpu"])
def test_an_absent_device_says_what_is_here(name):
    text = missing_text(name)
    if text is None:
        pytest.skip(f"{name} is on this machine; its absence is tested where it is not")
    assert text.startswith(f"{name} is not on this machine")
    assert "here: cpu" in text
    assert open_accelerator(name).devices() == []


def test_unknown_accelerator_lists_the_known():
    with pytest.raises(InputError, match="known: cuda, rocm, xpu, cpu"):
        open_accelerator("tpu")


def test_telemetry_rows_open():
    for name in TELEMETRY:
        assert callable(load(TELEMETRY, name))


def test_provenance_names_versions_device_and_commit(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    monkeypatch.setenv("AWS_SECRET", "hidden")
    found = collect(open_accelerator("cpu"), 2)
    assert {"python", "torch", "transformers", "peft"} <= set(found.versions)
    assert found.environment["CUDA_VISIBLE_DEVICES"] == "7"
    assert "AWS_SECRET" not in found.environment
    assert found.threads == 2
    assert found.commit == source_commit()


def test_environment_digest_follows_threads_and_variables(monkeypatch):
    (device,) = open_accelerator("cpu").devices()
    before = environment_digest(device, 2)
    assert environment_digest(device, 2) == before != environment_digest(device, 1)
    monkeypatch.setenv("OMP_PROC_BIND", "close")
    assert environment_digest(device, 2) != before
