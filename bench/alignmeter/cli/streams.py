"""The streams that a command starts with: one that is closed stands open on nothing.

Else the next file that is opened gets its number, and what is printed goes there: a worker's pipe,
or a record.
"""

__all__ = ["open_streams"]

import os
import sys


def open_streams() -> None:
    """Open those of stdin, stdout and stderr that are closed, on the null device."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number is this one
        if getattr(sys, name) is None:
            stream = os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
