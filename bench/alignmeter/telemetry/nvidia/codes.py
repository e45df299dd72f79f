"""NVML's numbers in words: return codes, clock reasons, names. Nothing here needs the library.

Source, unless a comment names another: nvml.h of CUDA 13, repeated in nvidia-ml-py's ``pynvml.py``.
"""

__all__ = [
    "ERRORS",
    "FOR_GOOD",
    "NOT_FOUND",
    "TOO_OLD",
    "Refusal",
    "bus_id",
    "form_factor",
    "profile",
    "refusal",
    "throttles",
]

import re
from functools import cache
from typing import NamedTuple

from alignmeter.telemetry.base import THROTTLES

ERRORS: dict[int, tuple[str, str | None]] = {
    1: ("NVML is not initialised", None),
    2: ("NVML calls this an invalid argument", None),
    3: ("this device does not support it", None),
    4: ("the driver refuses this user", "run as a user who may read and write /dev/nvidiactl"),
    6: ("there is none", None),
    9: ("the NVIDIA kernel driver is not loaded", "load it (modprobe nvidia) or reboot"),
    10: ("the driver did not answer in time", None),
    12: (
        "there is no NVIDIA driver here: libnvidia-ml.so.1 was not found",
        "install the NVIDIA driver; start a container with the NVIDIA Container Toolkit",
    ),
    13: ("the driver's NVML is too old and lacks this function", "install a newer driver"),
    15: ("the GPU is lost: it has fallen off the bus", "look for Xid in dmesg, then reboot"),
    16: ("the GPU must be reset", "nvidia-smi --gpu-reset as root, or reboot"),
    17: ("the operating system blocks the driver", "look at the container's device permissions"),
    18: ("NVML and the kernel driver have different versions", "reboot after a driver update"),
    25: ("the driver's NVML is too old for this version of a struct", "install a newer driver"),
    999: ("the driver failed without saying why", None),
}
"""nvmlReturn_t -> what it means, and what would help."""

NOT_FOUND, TOO_OLD = 6, 13
FOR_GOOD = frozenset({2, 3, TOO_OLD, 25})
"""Refusals that stay for as long as the library is open."""

_REASONS = {
    0x001: "idle",
    0x002: "clock_setting",  # application clocks or a lock
    0x004: "power_cap",
    0x008: "hardware",
    0x010: "sync_boost",
    0x020: "thermal",  # by software
    0x040: "thermal",  # by hardware
    0x080: "power_brake",
    0x100: "clock_setting",  # display clocks
    0x200: "other",  # BoardLimit; the header says no more than that
    0x400: "reliability",
}
_CAUSE_TOLD = 0x040 | 0x080
_CAUSE_UNKNOWN = 0x008

_FORM_FACTORS = (
    (re.compile(r"\bG[BH]\d"), "superchip"),
    (re.compile(r"NVL"), "NVL"),
    (re.compile(r"SXM|\bHBM3\b"), "SXM"),  # "H100 80GB HBM3": the H100 PCIe has HBM2e
    (re.compile(r"PCIE", re.IGNORECASE), "PCIe"),
)
_SXM_NAMES = re.compile(r"\b(?:H|B)\d{2,3}\b")
_SXM_ABOVE_W = 450.0


class Refusal(NamedTuple):
    """Instead of a figure: NVML's return code, or 0 if NVML did answer, and the reason."""

    code: int
    reason: str


@cache
def refusal(code: int) -> Refusal:
    """A return code of NVML in words."""
    words, _ = ERRORS.get(code, (f"NVML error {code}", None))
    return Refusal(code, words)


@cache
def throttles(bits: int) -> tuple[str, ...]:
    """A mask of nvmlClocksEventReasons in the words of `THROTTLES`, in their order.

    HwSlowdown is set along with HwThermalSlowdown and HwPowerBrakeSlowdown, its causes; it is
    told only when neither is. A bit that no header has yet is ``other``.
    """
    if bits & _CAUSE_TOLD:
        bits &= ~_CAUSE_UNKNOWN
    told = {word for bit, word in _REASONS.items() if bits & bit}
    if bits & ~sum(_REASONS):
        told.add("other")
    return tuple(word for word in THROTTLES if word in told)


def form_factor(name: str, power_cap_w: float | None) -> str | None:
    """``superchip``, ``NVL``, ``SXM`` or ``PCIe``; ``None`` where name and cap do not tell.

    "NVIDIA B200", "H200" and "H20" name none. Cards of these families end at 400 W, and those of
    600 W are named NVL (NVIDIA's data sheets), so a cap above 450 W is an SXM module's. A lower
    one tells nothing, since anybody may set it. Names such as "L40S" or "GeForce RTX 4090" belong
    to one form each, but that would be a table of products.
    """
    for pattern, form in _FORM_FACTORS:
        if pattern.search(name):
            return form
    if _SXM_NAMES.search(name) and power_cap_w is not None and power_cap_w > _SXM_ABOVE_W:
        return "SXM"
    return None


def profile(name: str) -> str | None:
    """The profile of a MIG slice, e.g. ``1g.10gb``: NVML appends it to a slice's name."""
    match = re.search(r" MIG (\S+)", name)
    return match and match[1]


def bus_id(text: str) -> str:
    """NVML writes eight digits of domain, in upper case; Linux and others four, in lower case."""
    domain, _, rest = text.lower().partition(":")
    return f"{int(domain, 16):04x}:{rest}"
