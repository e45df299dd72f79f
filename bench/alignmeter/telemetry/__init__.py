"""Telemetry: power and energy counters, one file per vendor behind `base.EnergyCounter`."""

__all__ = ["open_telemetry"]

from alignmeter.registry import TELEMETRY, load
from alignmeter.telemetry.base import EnergyCounter, NoCounter


def open_telemetry(accelerator: str) -> EnergyCounter:
    """The energy counter of that accelerator, or the null counter with the reason."""
    if accelerator not in TELEMETRY:
        return NoCounter(f"no telemetry adapter for {accelerator} is built yet")
    counter: EnergyCounter = load(TELEMETRY, accelerator)()
    return counter
