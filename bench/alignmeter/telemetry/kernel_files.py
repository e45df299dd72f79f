"""What stands in the small files of procfs and sysfs. They come and go: nothing here raises."""

__all__ = ["KeptOpen", "number", "numbers", "text"]

import os
from collections.abc import Iterable
from pathlib import Path


def text(file: Path) -> str:
    """What a file holds, without blanks at its ends; empty if it cannot be read."""
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""


def number(file: Path) -> int | None:
    """The whole number in a file, decimal or ``0x…``; ``None`` if there is none."""
    try:
        return int(text(file), 0)
    except ValueError:
        return None


def numbers(files: Iterable[Path]) -> list[int]:
    """The numbers of those files that have one: a core that is offline has no clock."""
    found = (number(file) for file in files)
    return [value for value in found if value is not None]


class KeptOpen:
    """A file that is read again and again: opening it anew costs five times as much as reading.

    The kernel makes its text at each read from the start.
    """

    def __init__(self, file: Path) -> None:
        self._handle: int | None
        try:
            self._handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._handle = None

    def read(self) -> str:
        """What it holds now, at most 64 KiB; empty if it cannot be read."""
        if self._handle is None:
            return ""
        try:
            return os.pread(self._handle, 2**16, 0).decode(errors="replace").strip()
        except OSError:
            return ""

    def close(self) -> None:
        """Let it go; reading then gives nothing."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
