"""Accelerators: one file per vendor behind `base.Accelerator`; vendor questions stay in there."""

__all__ = ["available", "missing_text", "open_accelerator"]

from alignmeter.accelerators.base import Accelerator
from alignmeter.registry import ACCELERATORS, load


def open_accelerator(name: str) -> Accelerator:
    """The accelerator of that name; ``auto`` gives the first one that is on this machine."""
    if name == "auto":
        name = available()[0]
    accelerator: Accelerator = load(ACCELERATORS, name)
    return accelerator


def available() -> list[str]:
    """Names of the accelerators that are here, in the order of ``auto``; the CPU always is."""
    return [name for name in ACCELERATORS if open_accelerator(name).missing() is None]


def missing_text(name: str) -> str | None:
    """Why ``name`` cannot be used here and what is here instead; ``None`` if it can."""
    reason = open_accelerator(name).missing()
    if reason is None:
        return None
    return f"{name} is not on this machine ({reason}); here: {', '.join(available())}"
