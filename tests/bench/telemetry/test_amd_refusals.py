"""What AMD SMI refuses: at the start, of one figure, and during a run."""

import sys
import time
from collections import defaultdict

import pytest
from amd_stub import MI300X, MI355X, why_not

from alignmeter.telemetry.base import FIGURES

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.mark.parametrize(
    ("status", "words", "remedy"),
    [
        (34, "the driver amdgpu is not loaded", "modprobe amdgpu"),
        (10, "no permission", "groups render and video"),
        (77, "status 77", None),
    ],
)
def test_a_refused_start_has_a_reason_and_a_remedy(machine, status, words, remedy):
    telemetry = machine.open(MI300X, library={"init_error": status})
    assert telemetry.devices() == []
    found = telemetry.probe()
    assert (found.available, found.reason) == (False, f"amdsmi_init: {words}")
    assert (found.remedy is None) if remedy is None else (remedy in found.remedy)


def test_a_machine_whose_gpus_are_hidden(machine):
    found = machine.open().probe()
    assert (found.available, found.reason) == (False, "AMD SMI sees no GPU")
    assert "/dev/dri" in found.remedy


def test_a_gpu_that_is_lost_during_a_run(machine):
    telemetry = machine.open(MI300X | {"lost_at": 5.0}, MI355X)
    lost, other = telemetry.devices()
    machine.clock.set(4.9)
    assert telemetry.read(lost).missing == {}
    machine.clock.set(5.0)
    sample = telemetry.read(lost)
    assert set(sample.missing) == {*FIGURES, "throttles"}
    assert all("is the device gone" in reason for reason in sample.missing.values())
    assert {getattr(sample, figure) for figure in FIGURES} == {None}
    assert telemetry.read(other).missing == {}


@pytest.mark.parametrize(
    ("refusal", "figures"),
    [
        ({"error_process": 10}, {"memory_process_bytes"}),
        ({"error_power": 2}, {"power_w"}),
        ({"power": "na"}, {"power_w"}),
        ({"error_energy": 2}, {"energy_j", "device_s"}),
        ({"error_temperature": 2}, {"temperature_c"}),
        ({"throttle": "none"}, {"throttles"}),
        ({"error_all": 10}, {*FIGURES, "throttles"}),
    ],
)
def test_what_is_refused_is_missing_and_nothing_else(machine, refusal, figures):
    telemetry = machine.open(MI300X | refusal)
    (device,) = telemetry.devices()
    sample = telemetry.read(device)
    assert set(sample.missing) == figures
    assert {name for name in (*FIGURES, "throttles") if getattr(sample, name) is None} == figures
    assert telemetry.capabilities(device).missing == sample.missing
    assert (telemetry.capabilities(device).power_kind is None) == ("power_w" in figures)


def test_an_unsupported_figure_is_asked_once(machine, monkeypatch):
    telemetry = machine.open(MI300X | {"error_energy": 2, "error_memory": 10})
    asked = []
    for name in ("amdsmi_get_energy_count", "amdsmi_get_gpu_memory_usage"):
        monkeypatch.setattr(sys.modules["amdsmi"], name, lambda *_, name=name: asked.append(name))
    sample = telemetry.read(*telemetry.devices())
    assert asked == ["amdsmi_get_gpu_memory_usage"]  # a permission may be granted later
    assert "not supported" in sample.missing["energy_j"]
    assert "form unknown here" in sample.missing["memory_used_bytes"]  # it now answers None


def test_whatever_answers_na_is_a_figure_that_is_not_there(machine, monkeypatch):
    """Bindings say it of more functions with each version, in place of a number or in a field."""
    telemetry = machine.open(MI300X)
    numbers = ["gpu_memory_usage", "gpu_memory_total", "temp_metric"]
    fields = ["energy_count", "power_info", "clock_info", "gpu_total_ecc_count", "power_cap_info",
              "gpu_asic_info", "gpu_kfd_info", "gpu_driver_info"]  # fmt: skip
    for named, answer in ((numbers + fields, "N/A"), (fields, defaultdict(lambda: "N/A"))):
        for name in named:
            monkeypatch.setattr(
                sys.modules["amdsmi"], f"amdsmi_get_{name}", lambda *_, answer=answer: answer
            )
        machine.clock.set(machine.clock.now_s + 10.0)  # no answer stands for so long
        sample = telemetry.read(*telemetry.devices())
        missing = {name for name in (*FIGURES, "throttles") if getattr(sample, name) is None}
        assert set(sample.missing) == missing >= {"energy_j", "power_w", "memory_used_bytes"}
        again = machine.open(MI300X)
        (device,) = again.devices()
        identity = again.identity(device)
        assert (identity.memory_bytes, identity.power_cap_w, identity.driver) == (None, None, None)


def test_a_process_list_may_be_incomplete_or_long(machine):
    """The library gives what it may and says NO_PERM; a list of 100 does not fit at first."""
    crowd = {"pid": 77, "processes": 100}
    telemetry = machine.open(
        MI300X | crowd,
        MI355X | {"pid": 77, "hidden_processes": 1},
        MI300X | {"bdf": "0000:22:00.0", "pid": 5, "hidden_processes": 1},
        pid=77,
    )
    long, partial, without = map(telemetry.read, telemetry.devices())
    assert long.memory_process_bytes == partial.memory_process_bytes == 2**30
    assert without.memory_process_bytes is None
    assert "no permission" in without.missing["memory_process_bytes"]


def test_a_costly_question_rests(machine, monkeypatch):
    """3 ms of CPU may be spent every 150 ms, so five readings in a row spend them once."""
    telemetry = machine.open(MI300X)
    asked = []

    def costly(handle):
        asked.append(handle)
        until = time.thread_time() + 3e-3
        while time.thread_time() < until:
            pass
        return {"uncorrectable_count": len(asked)}

    monkeypatch.setattr(sys.modules["amdsmi"], "amdsmi_get_gpu_total_ecc_count", costly)
    (device,) = telemetry.devices()
    errors = [telemetry.read(device).ecc_errors for _ in range(5)]
    assert errors[-1] < 5
    assert len(asked) == errors[-1]
    time.sleep(0.2)
    assert telemetry.read(device).ecc_errors == errors[-1] + 1
