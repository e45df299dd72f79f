"""What one device of AMD SMI reports, in our units, each figure asked as rarely as it may be.

Left out on purpose: ``amdsmi_get_violation_status`` sleeps 100 ms between two readings of the
metrics (amd_smi.cc), and the binding's ``amdsmi_get_gpu_metrics_info`` spends 290 µs on fields that
nobody reads, where the struct behind it is filled in 1 µs. ``amdsmi_get_gpu_memory_total`` is the
capacity, which a well-known peer reports as used.
"""

__all__ = ["Figures", "joules_per_count"]

import ctypes
import time
from collections.abc import Callable
from typing import Any

from alignmeter.telemetry.amd.answers import Refused, ask, refused
from alignmeter.telemetry.base import FIGURES, THROTTLES, Sample, checked_sample
from alignmeter.telemetry.cached import CACHED_S, CachedAnswers

TRUE_UNIT_J = 2.0**-16
"""15.259 µJ: the firmware's unit (gpu_metrics' energy_accumulator); the library says 15.3 µJ for it
(kEnergyCounterResolution in rocm_smi.cc), 0.27 % too much.
"""
NO_POWER, NO_COUNT = (0xFFFF, 0xFFFFFFFF), 0xFFFFFFFFFFFFFFFF
"""How the library says N/A in a power (of 16 or 32 bits) and in a counter; the binding translates
some of them.
"""

THROTTLE_BITS = (
    (range(16), "power_cap"),  # PPT, SPL, FPPT, SPPT
    (range(16, 32), "current_limit"),  # TDC, EDC
    (range(32, 46), "thermal"),  # dies, memory, voltage regulators, liquid
    (range(46, 48), "hardware"),  # PROCHOT, which the board may pull too
    (range(57, 58), "reliability"),  # FIT
    (range(48, 64), "other"),
)
"""Bits of indep_throttle_status (MI200 and Radeon): SMU_THROTTLER_* in amdgpu_smu.h."""
RESIDENCIES = {
    "ppt_residency_acc": "power_cap",
    "socket_thm_residency_acc": "thermal",
    "vr_thm_residency_acc": "thermal",
    "hbm_thm_residency_acc": "thermal",
    "prochot_residency_acc": "hardware",
}
"""MI300 and later count for how long they throttled, so a reading tells since the one before."""
NO_PERMISSION, OUT_OF_RESOURCES = 10, 15
SPARE = 64
"""Places for processes that may yet come; one GPU rarely has more than a few."""

_ENERGY, _POWER = ("energy_j", "device_s"), ("power_w",)
_SOCKETS = (_ENERGY, _POWER)
_UNKNOWN_FORM = (AttributeError, KeyError, TypeError, ValueError, ctypes.ArgumentError)
"""What a binding raises here whose structs or dictionaries are not those that we know."""


def joules_per_count(reported_uj: float) -> float:
    """The unit of the energy counter: the true one if the reported is within 1 % of it."""
    reported_j = reported_uj / 1e6
    return TRUE_UNIT_J if abs(reported_j / TRUE_UNIT_J - 1) < 0.01 else reported_j


class Figures:
    """One device's figures. ``unsupported``: figure -> why it was never asked again."""

    def __init__(self, smi: Any, handle: Any, pid: int) -> None:
        self._smi, self._handle, self._pid = smi, handle, pid
        self._metrics: Any = None
        self._processes: Any = None
        self._residencies: dict[str, int] = {}
        self._cached = CachedAnswers()
        self.power_kind: str | None = None
        self.power_cap_w: float | None = None
        self.unsupported: dict[str, str] = {}
        self.sensor: str | None = None
        """Who has the sensor of power and energy, if the device is but a part of it."""
        self._questions: dict[tuple[str, ...], Callable[[], dict[str, Any] | Refused]] = {
            _ENERGY: self._energy,
            _POWER: self._power,
            ("memory_used_bytes",): self._used,
            ("memory_process_bytes",): self._process,
            ("clock_mhz",): lambda: self._clock("clock_mhz", smi.AmdSmiClkType.GFX),
            ("memory_clock_mhz",): lambda: self._clock("memory_clock_mhz", smi.AmdSmiClkType.MEM),
            ("temperature_c",): self._temperature,
            ("ecc_errors",): self._ecc,
            ("throttles",): self._throttles,
        }

    def read(self) -> Sample:
        """All of them now; what the driver refuses is missing with the reason."""
        now_s = time.monotonic()
        values: dict[str, Any] = {}
        missing: dict[str, str] = {}
        for names, question in self._questions.items():
            if names[0] in self.unsupported:
                continue
            try:
                slow = names[0] in CACHED_S
                answer = self._cached.answer(names[0], question) if slow else question()
            except _UNKNOWN_FORM as error:
                answer = Refused(f"amdsmi answers in a form unknown here: {error!r}")
            if not isinstance(answer, Refused):
                values.update(answer)
                continue
            elsewhere = f"; {self.sensor} may have it" if self.sensor and names in _SOCKETS else ""
            reasons = dict.fromkeys(names, answer.words + elsewhere)
            missing.update(reasons)
            if answer.forever:
                self.unsupported.update(reasons)
        throttles = values.pop("throttles", None)
        return checked_sample(
            now_s,
            dict.fromkeys(FIGURES) | values,
            self.unsupported | missing,
            throttles=throttles,
            power_cap_w=self.power_cap_w,
        )

    def watts(self) -> float | None:
        """What the power sensor says, unjudged, in W."""
        answer = self._power()
        return None if isinstance(answer, Refused) else answer["power_w"]

    def _energy(self) -> dict[str, Any] | Refused:
        found = ask(self._smi, "amdsmi_get_energy_count", self._handle)
        if isinstance(found, Refused):
            return found
        count = found.get("energy_accumulator", found.get("power"))  # its name before ROCm 6.2.1
        if count == NO_COUNT:
            return Refused("amdsmi_get_energy_count: the driver says N/A")
        energy_j = int(count) * joules_per_count(found["counter_resolution"])
        return {"energy_j": energy_j, "device_s": found["timestamp"] / 1e9}

    def _power(self) -> dict[str, Any] | Refused:
        """MI300 and later fill the current power and leave the average N/A; MI200 the reverse."""
        found = ask(self._smi, "amdsmi_get_power_info", self._handle)
        if isinstance(found, Refused):
            return found
        for key, kind in (("current_socket_power", "instant"), ("average_socket_power", "average")):
            watts = found.get(key)
            if isinstance(watts, int) and watts not in NO_POWER:
                self.power_kind = kind
                return {"power_w": float(watts)}
        return Refused("amdsmi_get_power_info: neither current nor average power is filled")

    def _used(self) -> dict[str, Any] | Refused:
        vram = self._smi.AmdSmiMemoryType.VRAM
        used = ask(self._smi, "amdsmi_get_gpu_memory_usage", self._handle, vram)
        return used if isinstance(used, Refused) else {"memory_used_bytes": int(used)}

    def _process(self) -> dict[str, Any] | Refused:
        """The library of AMD SMI 26 takes a KiB for 1000 bytes (fdinfo.cc): 2.4 % too little."""
        function = "amdsmi_get_gpu_process_list"
        if self._processes is None:
            self._processes = (self._smi.amdsmi_wrapper.amdsmi_proc_info_t * SPARE)()
        found = ctypes.c_uint32(len(self._processes))
        status = self._fill(function, ctypes.byref(found), self._processes)
        if status == OUT_OF_RESOURCES:  # it has said how many there are
            self._processes = (self._processes._type_ * (found.value + SPARE))()
            found.value = len(self._processes)
            status = self._fill(function, ctypes.byref(found), self._processes)
        # With NO_PERM come those processes that this user may see.
        for process in self._processes[: found.value if status in {0, NO_PERMISSION} else 0]:
            if process.pid == self._pid:
                return {"memory_process_bytes": int(process.memory_usage.vram_mem)}
        if status:
            return refused(function, status)
        return Refused(
            f"process {self._pid} is not in the driver's list: it holds nothing on this device, "
            "or a container hides its id"
        )

    def _clock(self, figure: str, kind: Any) -> dict[str, Any] | Refused:
        found = ask(self._smi, "amdsmi_get_clock_info", self._handle, kind)
        if isinstance(found, Refused):
            return found
        if found["clk"] == "N/A":
            return Refused("amdsmi_get_clock_info: the driver says N/A")
        return {figure: float(found["clk"])}

    def _temperature(self) -> dict[str, Any] | Refused:
        """The hottest spot, in °C: the library has divided the kernel's m°C (amd_smi.cc)."""
        hotspot = self._smi.AmdSmiTemperatureType.HOTSPOT
        current = self._smi.AmdSmiTemperatureMetric.CURRENT
        found = ask(self._smi, "amdsmi_get_temp_metric", self._handle, hotspot, current)
        return found if isinstance(found, Refused) else {"temperature_c": float(found)}

    def _ecc(self) -> dict[str, Any] | Refused:
        found = ask(self._smi, "amdsmi_get_gpu_total_ecc_count", self._handle)
        if isinstance(found, Refused):
            return found
        return {"ecc_errors": int(found["uncorrectable_count"])}

    def _throttles(self) -> dict[str, Any] | Refused:
        """Why the clock is lower, now (bits) or since the last reading (residencies)."""
        if self._metrics is None:
            self._metrics = self._smi.amdsmi_wrapper.amdsmi_gpu_metrics_t()
        function, metrics = "amdsmi_get_gpu_metrics_info", self._metrics
        status = self._fill(function, ctypes.byref(metrics))
        if status:
            return refused(function, status)
        bits = getattr(metrics, "indep_throttle_status", NO_COUNT)
        now = {name: getattr(metrics, name, NO_COUNT) for name in RESIDENCIES}
        now = {name: value for name, value in now.items() if value != NO_COUNT}
        if bits == NO_COUNT and not now:
            return Refused("the driver gives neither throttle bits nor residencies", forever=True)
        before, self._residencies = self._residencies, now
        words = {RESIDENCIES[name] for name in now if now[name] > before.get(name, now[name])}
        if bits != NO_COUNT:
            set_bits = [i for i in range(64) if bits >> i & 1]
            words |= {next(w for span, w in THROTTLE_BITS if i in span) for i in set_bits}
        return {"throttles": tuple(word for word in THROTTLES if word in words)}

    def _fill(self, function: str, *pointers: Any) -> int:
        """Let the library fill our structs, past the binding's function of that name: its status.

        That copies every field into dictionaries, and for processes a fresh 700 kB first.
        """
        status: int = getattr(self._smi.amdsmi_wrapper, function)(self._handle, *pointers)
        return status
