"""Which phases each rank has begun, in a file that its parent reads while ranks are stuck."""

__all__ = ["CountingProbe", "Progress", "advance", "count_phases"]

import contextlib
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from alignmeter.training.step import SilentProbe

_COUNT = 8
_NAME = 40
"""Bytes of a phase's name, the longest of which has 14 letters."""
_BYTES = _COUNT + _NAME
_ORDER: Final = "little"


class Progress:
    """A counter for each of ``size`` ranks; who makes the file begins all at 0."""

    def __init__(self, path: Path, size: int, *, make: bool = False) -> None:
        if make:
            path.write_bytes(bytes(_BYTES * size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _BYTES * size)
        self._size = size

    def begun(self) -> list[int]:
        """How many phases each rank has begun."""
        return [self._count(rank) for rank in range(self._size)]

    def last(self) -> list[str]:
        """The phase that each rank has begun last; empty where it has begun none."""
        rows = [
            self._map[_BYTES * rank + _COUNT : _BYTES * (rank + 1)] for rank in range(self._size)
        ]
        return [row.rstrip(b"\0").decode(errors="replace") for row in rows]

    def advance(self, rank: int, phase: str) -> None:
        """That rank begins a phase."""
        count = (self._count(rank) + 1).to_bytes(_COUNT, _ORDER)
        name = phase.encode()[:_NAME].ljust(_NAME, b"\0")
        self._map[_BYTES * rank : _BYTES * (rank + 1)] = count + name

    def _count(self, rank: int) -> int:
        return int.from_bytes(self._map[_BYTES * rank : _BYTES * rank + _COUNT], _ORDER)


_OWN: list[tuple[Progress, int]] = []
"""This process's own counter, once it is a rank."""


def count_phases(progress: Progress, rank: int) -> None:
    """From here on `advance` counts for that rank."""
    _OWN.append((progress, rank))


def advance(phase: str) -> None:
    """A phase begins; nobody counts in a process that is no rank."""
    for progress, rank in _OWN:
        progress.advance(rank, phase)


class CountingProbe(SilentProbe):
    """Listens to nothing, but counts phases."""

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """A phase begins."""
        advance(name)
        yield
