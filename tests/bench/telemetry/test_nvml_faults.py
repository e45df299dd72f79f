"""What NVML's adapter says where a driver, a permission, a sensor or the GPU is missing."""

import os

import pynvml
import pytest
from nvml_stub import H100_SXM, H200, build_nvml, constant, no_nvml
from stub_libraries import NO_COMPILER, compiler

from alignmeter.telemetry.base import FIGURES
from alignmeter.telemetry.nvidia.nvml import open_nvml

GIB = 2**30
UNSUPPORTED, NO_PERMISSION, NO_KERNEL_DRIVER, TOO_OLD = 3, 4, 9, 13

pytestmark = pytest.mark.skipif(compiler() is None, reason=NO_COMPILER)


def test_no_driver(monkeypatch):
    no_nvml(monkeypatch)
    probe = open_nvml(os.getpid()).probe()
    assert not probe.available
    assert "no NVIDIA driver here" in probe.reason
    assert "install the NVIDIA driver" in probe.remedy


@pytest.mark.parametrize(
    ("code", "reason", "remedy"),
    [
        (NO_KERNEL_DRIVER, "kernel driver is not loaded", "modprobe nvidia"),
        (NO_PERMISSION, "refuses this user", "/dev/nvidiactl"),
        (18, "different versions", "reboot"),
        (77, "NVML error 77", None),
    ],
)
def test_an_nvml_that_cannot_be_initialised(play, code, reason, remedy):
    played = play(H100_SXM, said={"nvmlInitWithFlags": code})
    probe = played.telemetry.probe()
    assert (probe.available, played.telemetry.devices()) == (False, [])
    assert reason in probe.reason
    assert probe.remedy is remedy or remedy in probe.remedy


def test_a_gpu_lost_on_the_way_takes_all_its_figures_and_no_others(play):
    played = play(H100_SXM | {"lost_at": 1.0}, H200)
    assert played.at(0.9).energy_j == pytest.approx(0.9 * 100)
    lost = played.at(1.0)
    assert [getattr(lost, figure) for figure in FIGURES] == [None] * len(FIGURES)
    assert lost.throttles is None
    assert all("lost" in reason for f, reason in lost.missing.items() if f != "device_s")
    assert played.at(1.0, 1).energy_j == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"lost_at": 0.0}, "GPU 0: the GPU is lost"),
        ({"nvmlDeviceGetHandleByIndex_v2": NO_PERMISSION}, "GPU 0: the driver refuses this user"),
        ({"nvmlDeviceGetUUID": 999}, "GPU 0: the driver failed without saying why"),
    ],
)
def test_a_gpu_that_cannot_be_opened_is_named(play, said, reason):
    played = play(H100_SXM | said, H200)
    assert played.telemetry.devices() == [H200["uuid"]]
    assert played.telemetry.probe().reason.startswith(reason)


def test_a_machine_without_gpus(play):
    assert play().telemetry.probe().reason == "NVML sees no GPU"


def test_what_is_not_supported_is_not_asked_again(play, monkeypatch):
    calls = []
    real = pynvml.nvmlDeviceGetClockInfo
    monkeypatch.setattr(pynvml, "nvmlDeviceGetClockInfo", lambda *a: (calls.append(a), real(*a)))
    played = play(H100_SXM | {"nvmlDeviceGetClockInfo": UNSUPPORTED})
    opened = len(calls)
    sample = played.at(1.0)
    assert sample.missing["clock_mhz"] == "this device does not support it"
    assert sample.energy_j == pytest.approx(100.0)
    assert len(calls) == opened == 2


def test_what_is_not_permitted_is_asked_again(play, monkeypatch):
    """Somebody may grant it while the library is open."""
    real, granted = pynvml.nvmlDeviceGetTotalEccErrors, []

    def guarded(*arguments):
        if not granted:
            raise pynvml.NVMLError(NO_PERMISSION)
        return real(*arguments)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetTotalEccErrors", guarded)
    played = play(H100_SXM | {"ecc": 2})
    assert played.capabilities().missing["ecc_errors"] == "the driver refuses this user"
    assert played.at(1.0).missing["ecc_errors"] == "the driver refuses this user"
    granted.append(True)
    assert played.at(1.1).ecc_errors == 2


def test_no_power(play):
    played = play(H100_SXM | {"field_186": UNSUPPORTED, "field_185": UNSUPPORTED})
    capabilities = played.capabilities()
    assert (capabilities.power_scope, capabilities.power_kind) == (None, None)
    assert capabilities.missing["power_w"] == "this device does not support it"
    assert capabilities.energy_scope == "gpu"
    assert played.at(1.0).energy_j == pytest.approx(100.0)


def test_no_energy(play):
    played = play(H100_SXM | {"field_83": UNSUPPORTED})
    assert played.capabilities().energy_scope is None
    sample = played.at(1.0)
    assert sample.missing["energy_j"] == "this device does not support it"
    assert sample.power_w == pytest.approx(100.0)


def test_without_power_now_there_is_its_average(play):
    """100 W until 1 s, then 300 W: the mean of the second that ends at 1.5 s is 200 W."""
    trace = [(0.0, 100.0, GIB, 0), (1.0, 300.0, GIB, 0)]
    played = play(H100_SXM | {"field_186": UNSUPPORTED}, traces={0: trace})
    assert played.capabilities().power_kind == "average"
    assert played.at(1.5).power_w == pytest.approx(200.0)


def test_a_counter_is_passed_on_as_it_is(play):
    """Frozen at 1 s it stays at 100 J; started anew at 1 s it holds 50 J at 1.5 s."""
    played = play(
        H100_SXM | {"energy_frozen_at": 1.0},
        H200 | {"energy_back_at": 1.0},
    )
    assert [played.at(t).energy_j for t in (1.0, 1.5, 2.0)] == [100.0, 100.0, 100.0]
    assert [played.at(t, 1).energy_j for t in (0.98, 1.5)] == pytest.approx([98.0, 50.0])


@pytest.mark.parametrize("power_w", [0.0, 1401.0])
def test_a_power_that_cannot_be_is_none(play, power_w):
    """A device that answers draws more than 0 W, and not more than twice its cap of 700 W."""
    sample = play(H100_SXM, traces=constant(power_w)).at(1.0)
    assert sample.power_w is None
    assert sample.missing["power_w"].startswith("out of range")


def test_an_older_driver_is_asked_by_older_names(play, tmp_path):
    """Functions that came later are not in its library; where an older one says the same, it is
    asked. Used memory has none: version 1 counts other things.
    """
    older = build_nvml(
        tmp_path,
        without=(
            "nvmlDeviceGetTemperatureV",
            "nvmlDeviceGetCurrentClocksEventReasons",
            "nvmlDeviceGetComputeRunningProcesses_v3",
            "nvmlDeviceGetC2cModeInfoV",
            "nvmlDeviceGetMemoryInfo_v2",
        ),
    )
    played = play(H100_SXM, traces=constant(100.0, GIB, 0x4), library=older)
    too_old = "the driver's NVML is too old and lacks this function"
    assert played.capabilities().missing["memory_used_bytes"] == too_old
    sample = played.at(1.0)
    assert sample.missing["memory_used_bytes"] == too_old
    assert (sample.memory_process_bytes, sample.temperature_c) == (GIB, 55)
    assert (sample.throttles, sample.energy_j) == (("power_cap",), 100.0)
    assert played.identity().memory_bytes == 81559 * 2**20


def test_a_field_has_the_type_that_it_names(play):
    """64 bits hold the same milliwatts; a type that no header has yet is no figure."""
    assert play(H100_SXM | {"power_type": 3}).at(1.0).power_w == pytest.approx(100.0)
    sample = play(H100_SXM | {"power_type": 9}).at(1.0)
    assert sample.missing["power_w"] == "NVML gave a value of the unknown type 9"


def test_no_reasons_and_no_fields(play):
    """What a driver lacks altogether is missing, and nothing is raised."""
    names = [
        "nvmlDeviceGetFieldValues",
        "nvmlDeviceGetCurrentClocksEventReasons",
        "nvmlDeviceGetCurrentClocksThrottleReasons",
    ]
    sample = play(H100_SXM | dict.fromkeys(names, TOO_OLD)).at(1.0)
    assert {"power_w", "energy_j", "throttles"} <= set(sample.missing)
    assert sample.clock_mhz == 1755
