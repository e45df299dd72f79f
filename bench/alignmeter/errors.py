"""The errors a user can cause."""

__all__ = ["AlignmeterError", "CellError", "InputError", "known"]

from collections.abc import Iterable
from difflib import get_close_matches

_FEW = 12
"""Names that one sentence can hold."""


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


def known(names: Iterable[object], wanted: str | None = None) -> str:
    """``known: a, b, c``: the tail of every message about an unknown name.

    ``wanted``: the name that was given. Of many names those that are nearest to it are told.
    """
    every = [str(name) for name in names]
    if wanted is None or len(every) <= _FEW:
        return "known: " + ", ".join(every)
    near = get_close_matches(wanted, every, n=3, cutoff=0.0)
    return f"nearest of {len(every)} known: {', '.join(near)}"
