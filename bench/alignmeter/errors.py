"""The errors a user can cause."""

__all__ = ["AlignmeterError", "CellError", "InputError", "known"]

from collections.abc import Iterable


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
