"""What a refused checkpoint is told by: one sentence that names it."""

__all__ = ["named", "one_line", "refused", "said"]

from alignmeter.errors import InputError
from alignmeter.text import plain, shortened, shown_path, without_frames

_SAID, _NAME, _VALUE = 150, 80, 60
"""Characters of what a library said, of a tensor's or file's name and of a value: what is wrong has
to fit beside them.
"""
_PATH = 160
"""Characters of ``--model``; of a longer one the end says more than the beginning."""


def refused(model: str, text: str) -> InputError:
    """The error that says of ``--model`` what is wrong and what would be right."""
    return InputError(f"--model {shown_path(model, _PATH)}: {plain(text)}")


def named(name: str) -> str:
    """A name that a file gives, made plain and short; in quotes where nothing would be seen."""
    shown = shortened(plain(name), _NAME)
    return shown if shown.strip() else repr(shown)


def said(value: object) -> str:
    """A value of config.json, as Python writes it, made plain and short."""
    return shortened(plain(repr(value)), _VALUE)


def one_line(error: BaseException) -> str:
    """What a library said, made plain and short.

    A line that ends in a colon only says what kind of thing the next one is about.
    """
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    lines = [line.strip() for line in without_frames(str(text)).splitlines()]
    lines = [line for line in lines if line]
    words = " ".join([line for line in lines if not line.endswith(":")] or lines)
    words = words.removeprefix("ValueError: ").removeprefix("TypeError: ")
    if isinstance(error, KeyError) and " " not in words:
        words = f"nothing is known as {words!r}"
    return shortened(plain(words or type(error).__name__), _SAID)
