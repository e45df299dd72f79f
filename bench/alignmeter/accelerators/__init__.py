"""Accelerators: one file per vendor behind `base.Accelerator`; vendor questions stay in there."""

__all__ = ["available", "device_or_host", "missing_text", "open_accelerator"]

from alignmeter.accelerators.base import Accelerator, Device
from alignmeter.accelerators.device_query import query
from alignmeter.registry import ACCELERATORS, load


def open_accelerator(name: str) -> Accelerator:
    """The accelerator of that name; ``auto`` gives the first one that is on this machine.

    No device is opened. Raises `InputError` for a name without a row.
    """
    if name == "auto":
        name = available()[0]
    accelerator: Accelerator = load(ACCELERATORS, name)
    return accelerator


def available() -> list[str]:
    """Names of the accelerators that are here, in the order of ``auto``; the CPU always is.

    Devices are opened in another process, not in this one.
    """
    return [name for name in ACCELERATORS if query(name).missing is None]


def missing_text(name: str) -> str | None:
    """Why ``name`` cannot be used here and what is here instead; ``None`` if it can."""
    reason = query(name).missing
    if reason is None:
        return None
    return f"{name} is not on this machine ({reason}); here: {', '.join(available())}"


def device_or_host(name: str) -> Device:
    """The device that a worker of that accelerator computes on; the host's CPU if there is none."""
    return (query(name).devices or query("cpu").devices)[0]
