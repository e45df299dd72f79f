"""How many phases each rank has begun, in a file that its parent reads while ranks are stuck."""

__all__ = ["CountingProbe", "Progress", "advance", "count_phases"]

import contextlib
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from alignmeter.training.step import SilentProbe

_BYTES = 8
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
        """Phases that each rank has begun."""
        return [self._at(rank) for rank in range(self._size)]

    def advance(self, rank: int) -> None:
        """One more of that rank."""
        self._map[_BYTES * rank : _BYTES * (rank + 1)] = (self._at(rank) + 1).to_bytes(
            _BYTES, _ORDER
        )

    def _at(self, rank: int) -> int:
        return int.from_bytes(self._map[_BYTES * rank : _BYTES * (rank + 1)], _ORDER)


_OWN: list[tuple[Progress, int]] = []
"""This process's own counter, once it is a rank."""


def count_phases(progress: Progress, rank: int) -> None:
    """From here on `advance` counts for that rank."""
    _OWN.append((progress, rank))


def advance() -> None:
    """A phase begins; nobody counts in a process that is no rank."""
    for progress, rank in _OWN:
        progress.advance(rank)


class CountingProbe(SilentProbe):
    """Listens to nothing, but counts phases."""

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:  # noqa: ARG002 - the protocol's signature
        """A phase begins."""
        advance()
        yield
