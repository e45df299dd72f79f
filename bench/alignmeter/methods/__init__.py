"""Alignment methods: one file each, a real optimisation step behind `TrainingStep`."""

__all__ = [
    "Method",
    "Outcome",
    "Probe",
    "Setup",
    "TrainingStep",
    "open_method",
    "open_setup",
]

from alignmeter.registry import METHODS, load
from alignmeter.training.setup import Setup, open_setup
from alignmeter.training.step import Method, Outcome, Probe, TrainingStep


def open_method(name: str) -> Method:
    """The method of that name. Raises `InputError` for an unknown one."""
    method: Method = load(METHODS, name)
    return method
