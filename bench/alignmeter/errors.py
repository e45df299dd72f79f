"""The errors a user can cause, and the reason codes a record can carry."""

__all__ = ["REASONS", "AlignmeterError", "CellError", "InputError", "known"]

from collections.abc import Iterable

REASONS: dict[str, str] = {
    "excluded": "the matrix file excludes this combination",
    "impossible": "the axes of this cell contradict each other",
    "accelerator_missing": "the accelerator is not on this machine",
    "library_missing": "a library that this cell needs is not installed",
    "data_too_short": "too few rows of the data reach the prompt length",
    "out_of_memory": "an allocation failed",
    "timeout": "the replicate passed its time limit",
    "worker_died": "the worker process ended without an answer",
    "exception": "the step raised an exception",
    "non_finite_loss": "a loss was NaN or infinite",
    "first_loss": "the first DPO loss was not ln 2 although the policy equals its ref_model",
    "adapter_without_gradient": "a LoRA adapter got no gradient in the first step",
    "reference_disagrees": "the first steps differ from the reference by more than rounding",
    "ledger_gap": "more bytes without an owner than the ledger's limit",
    "too_few_steps": "fewer than three timed steps",
    "host_loaded": "other processes kept the host's cores busy",
    "energy_unavailable": "no energy counter can be read here",
    "window_too_short": "the energy window ended before its minimum length",
    "not_measured": "the backend gives no such figure",
}
"""Reason code -> the sentence that explains it. Records hold codes from this table only."""


class AlignmeterError(Exception):
    """Base of every error that alignmeter raises on purpose."""


class InputError(AlignmeterError):
    """Something the user gave cannot be used; the text names it and says what would be right."""


class CellError(AlignmeterError):
    """A cell cannot be measured. Carries the record's ``status`` and its reason ``code``."""

    def __init__(self, status: str, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.text = text


def known(names: Iterable[object]) -> str:
    """``known: a, b, c``: the tail of every message about an unknown name."""
    return "known: " + ", ".join(str(name) for name in names)
