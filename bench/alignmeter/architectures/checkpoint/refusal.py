"""What a refused checkpoint is told by: one sentence that names it."""

__all__ = ["first_line", "refused"]

from alignmeter.errors import InputError
from alignmeter.text import plain, shortened

_SAID = 120
"""Characters of what a library said: its sentence has to fit beside ours."""


def refused(model: str, text: str) -> InputError:
    """The error that says of ``--model`` what is wrong and what would be right."""
    return InputError(f"--model {model}: {text}")


def first_line(error: BaseException) -> str:
    """The first line of what a library said, made plain and short."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return shortened(plain(lines[0]), _SAID)
