"""The host as a device: RAPL for energy, procfs and sysfs for the rest. Only Linux has these files.

Sources: proc(5) for statm, status, meminfo and clear_refs; Documentation/admin-guide/pm/cpufreq.rst
and Documentation/hwmon/{coretemp,k10temp}.rst of the Linux kernel.
"""

__all__ = ["CpuTelemetry", "open_cpu", "peak_rss_bytes", "reset_peak_rss"]

import os
import platform
import statistics
import time
from pathlib import Path

from alignmeter.telemetry.base import (
    Capabilities,
    Identity,
    Probe,
    Sample,
    Telemetry,
    checked_sample,
)
from alignmeter.telemetry.cached import CachedAnswers
from alignmeter.telemetry.kernel_files import KeptOpen, numbers, text
from alignmeter.telemetry.linux.limits import memory_limit
from alignmeter.telemetry.linux.rapl import Rapl, open_rapl, power_limit_w

_DEVICE = "cpu"
_ROOT = Path("/")
_PROC = Path("/proc")
_SENSORS = ("coretemp", "k10temp", "zenpower")
"""hwmon drivers of CPUs: Intel's, AMD's, and the out-of-tree one for AMD."""
_LABELS = ("Package id", "Tdie", "Tctl")
"""The sensor that stands for the whole package, best first. AMD's Tctl has an offset on some."""
_NO_SENSOR = (
    f"none of the sensors {', '.join(_SENSORS)}: load the module (modprobe coretemp);"
    " virtual machines have none"
)
_MISSING = {
    "device_s": "the RAPL counter has no clock of its own",
    "power_w": "a CPU tells energy and not power",
    "memory_clock_mhz": "no file tells the clock of the host's memory",
    "ecc_errors": "what EDAC counts is a host's and not a CPU's",
    "throttles": "thermal_throttle counts events and has no state",
}


class CpuTelemetry:
    """One device, ``cpu``: all sockets and the host's RAM."""

    def __init__(self, pid: int, root: Path = _ROOT) -> None:
        """``pid``: whose resident memory is read. ``root``: where ``proc`` and ``sys`` are."""
        self._root, self._proc, self._sys = root, root / "proc", root / "sys"
        self._pid = pid
        self._powercap = self._sys / "class" / "powercap"
        self._rapl = open_rapl(self._powercap)
        self._no_clock = f"no clock below {self._cpufreq()}: usual on virtual machines"
        self._clocks = sorted(self._cpufreq().glob("policy*/scaling_cur_freq"))
        self._sensors = _sensors(self._sys / "class" / "hwmon")
        self._statm = KeptOpen(self._proc / str(pid) / "statm")
        self._memory = KeptOpen(self._proc / "meminfo")
        self._cached = CachedAnswers()

    def probe(self) -> Probe:
        """Available: the CPU is here, whatever it may not tell."""
        return Probe(available=True, library="Linux procfs, sysfs")

    def devices(self) -> list[str]:
        """``cpu``."""
        return [_DEVICE]

    def identity(self, device: str) -> Identity:
        """The CPU's model; its memory is what may be used of the host's. Raises `KeyError`."""
        _check(device)
        limit = memory_limit(self._root)
        largest_khz = numbers(self._cpufreq().glob("policy*/cpuinfo_max_freq"))
        return Identity(
            name=_model_name(self._proc / "cpuinfo"),
            driver=platform.release(),
            memory_bytes=None if limit is None else limit.total_bytes,
            power_cap_w=power_limit_w(self._powercap),
            clocks_mhz={"compute": max(largest_khz) / 1e3} if largest_khz else {},
        )

    def capabilities(self, device: str) -> Capabilities:
        """What one reading had, and why it lacked the rest. Raises `KeyError`."""
        sample = self.read(device)
        scope = "socket" if isinstance(self._rapl, Rapl) else None
        return Capabilities(energy_scope=scope, missing=sample.missing)

    def read(self, device: str) -> Sample:
        """Its figures now; energy is the sum of the sockets. Raises `KeyError`."""
        _check(device)
        missing = dict(_MISSING)
        now = time.monotonic()
        energy = self._energy_j(missing)
        used = self._used_bytes(self._cached.answer("host_memory", self._meminfo), missing)
        resident = self._resident_bytes(missing)
        # A server has hundreds of cores: their clocks are not for every sample.
        clocks = self._cached.answer("clock_mhz", lambda: numbers(self._clocks))
        if not clocks:
            missing["clock_mhz"] = self._no_clock
        temperatures = self._cached.answer("temperature_c", lambda: numbers(self._sensors))
        if not temperatures:
            missing["temperature_c"] = _NO_SENSOR
        values = {
            "energy_j": energy,
            "memory_used_bytes": used,
            "memory_process_bytes": resident,
            "clock_mhz": statistics.fmean(clocks) / 1e3 if clocks else None,
            "temperature_c": max(temperatures) / 1e3 if temperatures else None,
        }
        return checked_sample(now, values, missing)

    def close(self) -> None:
        """Let its files go."""
        self._statm.close()
        self._memory.close()

    def _cpufreq(self) -> Path:
        return self._sys / "devices" / "system" / "cpu" / "cpufreq"

    def _energy_j(self, missing: dict[str, str]) -> float | None:
        if isinstance(self._rapl, str):
            missing["energy_j"] = self._rapl
            return None
        try:
            return self._rapl.read_j()
        except (OSError, ValueError) as error:
            missing["energy_j"] = f"RAPL cannot be read any more: {error}"
            return None

    def _used_bytes(self, found: dict[str, int], missing: dict[str, str]) -> int | None:
        if not {"MemTotal", "MemAvailable"} <= found.keys():
            missing["memory_used_bytes"] = f"{self._proc / 'meminfo'} has no MemAvailable"
            return None
        return found["MemTotal"] - found["MemAvailable"]

    def _resident_bytes(self, missing: dict[str, str]) -> int | None:
        # statm costs 40 µs and is right to a few pages a thread; smaps_rollup, exact, takes 18 ms.
        pages = self._statm.read().split()
        if not pages:
            missing["memory_process_bytes"] = f"process {self._pid} is gone"
            return None
        return int(pages[1]) * os.sysconf("SC_PAGE_SIZE")

    def _meminfo(self) -> dict[str, int]:
        """Name -> bytes; the kernel writes kB and means KiB."""
        found = {}
        for line in self._memory.read().splitlines():
            name, _, value = line.partition(":")
            if name in ("MemTotal", "MemAvailable"):
                found[name] = int(value.split()[0]) * 1024
            if len(found) == 2:
                break  # they are the first and the third of 50 lines
        return found


def open_cpu(pid: int, root: Path = _ROOT) -> Telemetry:
    """The host's telemetry; ``pid`` is whose memory counts, ``root`` holds ``proc`` and ``sys``."""
    return CpuTelemetry(pid, root)


def peak_rss_bytes(pid: int, proc: Path = _PROC) -> int | None:
    """Largest resident memory of a process (VmHWM), in bytes; ``None`` if the kernel is silent."""
    for line in text(proc / str(pid) / "status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def reset_peak_rss(pid: int, proc: Path = _PROC) -> bool:
    """Start VmHWM anew from what is resident now; ``False`` where that is not permitted."""
    try:
        (proc / str(pid) / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _check(device: str) -> None:
    if device != _DEVICE:
        raise KeyError(device)


def _model_name(cpuinfo: Path) -> str:
    for line in text(cpuinfo).splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _sensors(hwmon: Path) -> list[Path]:
    """Of each CPU sensor chip the file of its package's temperature."""
    found = []
    for chip in sorted(hwmon.glob("hwmon*")):
        if text(chip / "name") not in _SENSORS:
            continue
        labels = {text(f): f for f in sorted(chip.glob("temp*_label"))}
        named = [f for best in _LABELS for label, f in labels.items() if label.startswith(best)]
        file = named[0] if named else chip / "temp1_label"
        found.append(file.with_name(file.name.replace("_label", "_input")))
    return found
