"""NVIDIA GPUs without hardware: `build_nvml` makes the library, and here are devices to put in.

``pynvml`` loads it by name, from ``LD_LIBRARY_PATH``, in a process of its own (`environment`), or
from this module in the process of the test (`use_nvml`).
"""

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pynvml
import pytest
from stub_libraries import SOURCES, Clock, Scenario, build_library

from alignmeter.telemetry.base import FIGURES, Capabilities, Identity, Sample, Telemetry
from alignmeter.telemetry.nvidia.nvml import open_nvml

_HERE = "stub-nvml.so"
"""The same library under another name: in a process that has loaded ``libnvidia-ml.so.1`` by path,
everyone who later asks for that name gets it, and a real driver would be hidden."""

H100_SXM: dict[str, object] = {
    "name": "NVIDIA H100 80GB HBM3",
    "uuid": "GPU-11111111-aaaa-bbbb-cccc-000000000001",
    "bus": "00000000:1B:00.0",
    "memory_mib": 81559,
    "cap_w": 700,
}
H100_PCIE: dict[str, object] = {
    "name": "NVIDIA H100 PCIe",
    "uuid": "GPU-22222222-aaaa-bbbb-cccc-000000000002",
    "bus": "00000000:3A:00.0",
    "memory_mib": 81559,
    "cap_w": 350,
    "max_clock_mhz": 1755,
    "max_memory_clock_mhz": 1593,
}
H200: dict[str, object] = {
    "name": "NVIDIA H200",
    "uuid": "GPU-33333333-aaaa-bbbb-cccc-000000000003",
    "bus": "00000000:5D:00.0",
    "memory_mib": 143771,
    "cap_w": 700,
    "max_memory_clock_mhz": 3201,
}
GH200: dict[str, object] = {
    "name": "NVIDIA GH200 480GB",
    "uuid": "GPU-44444444-aaaa-bbbb-cccc-000000000004",
    "bus": "00000009:01:00.0",
    "memory_mib": 97871,
    "cap_w": 900,
    "module_cap_w": 1000,
    "scopes": "module",
    "c2c": 1,
}
"""Its power is told for the module only; ``scopes`` "gpu module" and ``gpu_share`` 0.8 are the
newer drivers' GH200."""


def mig_slice(
    gpu: dict[str, object], *, device: int, index: int, profile: str = "1g.10gb"
) -> dict[str, object]:
    """A slice of the scenario's device number ``device``, at that index of the GPU."""
    return {
        "name": f"{gpu['name']} MIG {profile}",
        "uuid": f"MIG-55555555-aaaa-bbbb-cccc-00000000000{index}",
        "memory_mib": 9984,
        "reserved_mib": 15,
        "mig_of": device,
        "mig_index": index,
    }


def build_nvml(folder: Path, *, without: tuple[str, ...] = ()) -> Path:
    """``libnvidia-ml.so.1`` in that folder; ``without`` these functions it is an older driver's."""
    source = folder / "nvml.c"
    lines = [f"#define {name} left_out_{name}" for name in without]
    source.write_text("\n".join([*lines, f'#include "{SOURCES / "nvml.c"}"']) + "\n")
    build_library(folder / _HERE, source)
    return build_library(folder / "libnvidia-ml.so.1", source)


def environment(library: Path, scenario: Path, clock: Clock) -> dict[str, str]:
    """For a process whose NVML is to be that library, also where a real driver is installed."""
    folders = [str(library.parent), os.environ.get("LD_LIBRARY_PATH", "")]
    return {
        **os.environ,
        "LD_LIBRARY_PATH": ":".join(folders).rstrip(":"),
        "STUB_SCENARIO": str(scenario),
        "STUB_CLOCK": str(clock.path),
    }


def use_nvml(
    monkeypatch: pytest.MonkeyPatch, library: Path, scenario: Scenario, folder: Path
) -> Clock:
    """Make it this process's NVML until the test ends. ``folder`` takes scenario and clock."""
    clock = Clock(folder / "clock")
    monkeypatch.setenv("STUB_SCENARIO", str(scenario.write(folder / "scenario")))
    monkeypatch.setenv("STUB_CLOCK", str(clock.path))
    monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(str(library.with_name(_HERE))))
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    return clock


def no_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a driver, whatever this one has."""

    def not_found(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    monkeypatch.setattr(pynvml, "CDLL", not_found)


def constant(
    power_w: float, used_bytes: int = 2**30, bits: int = 0
) -> dict[int, list[tuple[float, float, int, int]]]:
    """The traces of one device that does the same all the time."""
    return {0: [(0.0, power_w, used_bytes, bits)]}


class Played:
    """An open telemetry and its clock. ``number`` counts its devices."""

    def __init__(self, telemetry: Telemetry, clock: Clock) -> None:
        self.telemetry, self.clock = telemetry, clock

    def at(self, seconds: float, number: int = 0) -> Sample:
        """A device's reading at that time: what is ``None`` has a reason, and nothing else has."""
        self.clock.set(seconds)
        sample = self.telemetry.read(self.telemetry.devices()[number])
        unknown = {f for f in (*FIGURES, "throttles") if getattr(sample, f) is None}
        assert set(sample.missing) == unknown
        return sample

    def capabilities(self, number: int = 0) -> Capabilities:
        return self.telemetry.capabilities(self.telemetry.devices()[number])

    def identity(self, number: int = 0) -> Identity:
        return self.telemetry.identity(self.telemetry.devices()[number])


@contextmanager
def playing(
    monkeypatch: pytest.MonkeyPatch, library: Path, folder: Path
) -> Iterator[Callable[..., Played]]:
    """A function of devices that opens them in this process; they are closed by the next and at
    the end: the library reads a scenario only when nobody has it open.

    ``said`` is what the library says, ``traces`` what the devices do, ``library`` another library.
    """
    opened: list[Telemetry] = []

    def start(*devices, traces=None, said=None, library=library):
        for earlier in opened:
            earlier.close()
        scenario = Scenario(list(devices), library=said or {}, traces=traces or {})
        clock = use_nvml(monkeypatch, library, scenario, folder)
        opened.append(open_nvml(os.getpid()))
        return Played(opened[-1], clock)

    yield start
    for telemetry in opened:
        telemetry.close()
