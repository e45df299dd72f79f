"""What everyone asks of a vendor's telemetry: six questions, answered in the same units by all.

An adapter converts units once, here nobody does. It never raises for what a driver says: a figure
that cannot be had is ``None`` and its reason stands in ``missing``.
"""

__all__ = [
    "FIGURES",
    "LIMITS",
    "THROTTLES",
    "Capabilities",
    "Identity",
    "NoTelemetry",
    "Probe",
    "Sample",
    "Telemetry",
    "checked_sample",
    "nothing_read",
]

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

THROTTLES = (
    "power_cap",
    "thermal",
    "hardware",
    "power_brake",
    "current_limit",
    "sync_boost",
    "clock_setting",
    "reliability",
    "idle",
    "other",
)
"""Why a clock is below its maximum, in words that all vendors share. ``hardware``: the chip's own
protection, whose cause the driver does not tell apart; ``clock_setting``: somebody set a limit.
"""

LIMITS: dict[str, tuple[float, float]] = {
    "device_s": (0.0, 1e10),
    "energy_j": (0.0, 1e13),
    "power_w": (0.1, 5000.0),
    "memory_used_bytes": (0, 2**46),
    "memory_process_bytes": (0, 2**46),
    "clock_mhz": (0.0, 10_000.0),
    "memory_clock_mhz": (0.0, 20_000.0),
    "temperature_c": (-40.0, 150.0),
    "ecc_errors": (0, 2**53),
}
"""Figure -> smallest and largest value that is believed. A device that answers is powered, so 0 W
is a sensor's failure; 5 kW is above the largest module's 2.9; 2**46 bytes are 64 TiB.
"""
FIGURES = tuple(LIMITS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """Whether a vendor's library answers. ``remedy`` says what would enable it, if something would.

    ``library``: its name and version, e.g. ``NVML 13.610.43``.
    """

    available: bool
    reason: str | None = None
    remedy: str | None = None
    library: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """One device, as its vendor's library names it.

    ``uuid`` is the vendor's own spelling; ``pci_bus_id`` is ``dddd:bb:dd.f`` in lower case.
    ``form_factor``: ``SXM``, ``PCIe``, ``NVL``, ``OAM``, …; ``None`` if neither name nor cap tells.
    ``power_cap_w``: of what its energy counter counts.
    ``partition``: compute and memory mode of an AMD device, profile of a MIG slice.
    ``energy_group``: devices with the same one share a counter, so its readings must not be added.
    ``clocks_mhz``: the largest clocks, ``compute`` and ``memory``.
    ``runtime_index``: its number for the vendor's runtime before any mask, if the library tells it.
    ``divided``: it is cut into slices, which are devices of their own; nothing computes on the
    whole of it, whatever UUID a runtime gives for a slice.
    """

    name: str
    uuid: str | None = None
    pci_bus_id: str | None = None
    driver: str | None = None
    memory_bytes: int | None = None
    form_factor: str | None = None
    power_cap_w: float | None = None
    partition: str | None = None
    energy_group: str | None = None
    clocks_mhz: Mapping[str, float] = field(default_factory=dict)
    runtime_index: int | None = None
    divided: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """What a device can tell. ``missing``: figure -> why it cannot.

    ``energy_scope``: what the counter counts, ``gpu``, ``module`` (with a CPU or a second die) or
    ``socket``; ``None`` without a counter. ``power_kind``: ``instant`` or ``average``.
    """

    energy_scope: str | None = None
    power_scope: str | None = None
    power_kind: str | None = None
    missing: Mapping[str, str] = field(default_factory=dict)


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One reading. ``None`` is unknown and its reason stands in ``missing``.

    ``monotonic_s`` is the host's CLOCK_MONOTONIC, ``device_s`` the counter's own clock where it has
    one. ``energy_j`` counts from an arbitrary start. ``memory_process_bytes`` belongs to the
    process that the adapter was opened for. ``ecc_errors``: uncorrected, since the driver's start.
    ``throttles``: now, or since the last reading where the device only counts them.
    """

    monotonic_s: float
    device_s: float | None = None
    energy_j: float | None = None
    power_w: float | None = None
    memory_used_bytes: int | None = None
    memory_process_bytes: int | None = None
    clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    temperature_c: float | None = None
    ecc_errors: int | None = None
    throttles: tuple[str, ...] | None = None
    missing: dict[str, str] = {}


class Telemetry(Protocol):
    """One vendor's library. ``device`` is a key of `devices`; an unknown one raises `KeyError`."""

    def probe(self) -> Probe:
        """Whether the library answers here, or why not."""
        ...

    def devices(self) -> list[str]:
        """Keys of all devices that the library sees, whatever the visible-devices variables say."""
        ...

    def identity(self, device: str) -> Identity:
        """Who that device is."""
        ...

    def read(self, device: str) -> Sample:
        """Its figures now."""
        ...

    def capabilities(self, device: str) -> Capabilities:
        """Which figures it has, asked of the device and not of a table."""
        ...

    def close(self) -> None:
        """Let the library go. Nothing may be asked afterwards."""
        ...


class NoTelemetry:
    """The null object: no library, no devices, and the reason."""

    def __init__(self, reason: str, remedy: str | None = None) -> None:
        self._probe = Probe(available=False, reason=reason, remedy=remedy)

    def probe(self) -> Probe:
        """The reason."""
        return self._probe

    def devices(self) -> list[str]:
        """None."""
        return []

    def identity(self, device: str) -> Identity:
        """Raises `KeyError`."""
        raise KeyError(device)

    def read(self, device: str) -> Sample:
        """Raises `KeyError`."""
        raise KeyError(device)

    def capabilities(self, device: str) -> Capabilities:
        """Raises `KeyError`."""
        raise KeyError(device)

    def close(self) -> None:
        """Nothing is open."""


def checked_sample(
    monotonic_s: float,
    values: Mapping[str, Any],
    missing: Mapping[str, str],
    *,
    throttles: tuple[str, ...] | None = None,
    power_cap_w: float | None = None,
) -> Sample:
    """A sample of ``values`` (figure -> number or ``None``), each held against `LIMITS`.

    What is out of range becomes ``None`` with a reason. With ``power_cap_w`` a power above twice
    the cap is out of range too: a struct read with the wrong layout gives millivolts as watts.
    """
    kept, why = dict(values), dict(missing)
    for name, value in values.items():
        if value is None:
            continue
        least, most = LIMITS[name]
        if power_cap_w and name == "power_w":
            most = 2 * power_cap_w
        if not least <= value <= most:
            kept[name] = None
            why[name] = f"out of range: {value:g} is not within {least:g} and {most:g}"
    return Sample(monotonic_s=monotonic_s, throttles=throttles, missing=why, **kept)


def nothing_read(reason: str) -> Sample:
    """A sample without figures, each missing for the same reason."""
    return Sample(
        monotonic_s=time.monotonic(), missing=dict.fromkeys((*FIGURES, "throttles"), reason)
    )
