"""Samples in memory that two processes share: what the sampler wrote is there after it has ended.

The memory is a file without a name. Layout: a header of
one page, then ``capacity`` slots of doubles, one per column, NaN for what is missing. The writer
fills a slot before it counts it, and the oldest slots are overwritten once all are full.
"""

__all__ = ["COLUMNS", "Ring"]

import json
import math
import mmap
import os
import struct
from collections.abc import Mapping
from operator import attrgetter
from typing import NamedTuple

from alignmeter.telemetry.base import FIGURES, THROTTLES, Sample

COLUMNS = ("monotonic_s", *FIGURES, "throttles")
"""``throttles`` is a bit mask over `THROTTLES`."""

_PAGE = 8192
_SLOT = struct.Struct(f"<{len(COLUMNS)}d")
_HEADER = struct.Struct("<8sQQddI")
_MAGIC = b"alignrng"
_PROGRESS, _WRITTEN = struct.Struct("<Qdd"), 8 + 16
"""The fields of the header that the writer sets with each sample, and where they begin."""
_NAN = math.nan
_figures = attrgetter("monotonic_s", *FIGURES)


class _Header(NamedTuple):
    magic: bytes
    capacity: int
    written: int
    start_cpu_s: float
    cpu_s: float
    notes_bytes: int


class Ring:
    """One writer, one reader; the reader may also ask the writer to stop.

    ``handle`` is an open file descriptor, kept by the caller for as long as the ring is used.
    """

    def __init__(self, handle: int, capacity: int | None = None) -> None:
        """With ``capacity`` the memory is made anew. Raises `ValueError` if it is no ring."""
        if capacity is not None:
            os.ftruncate(handle, _PAGE + capacity * _SLOT.size)
        self._memory = mmap.mmap(handle, 0)
        if capacity is not None:
            self._set(_Header(_MAGIC, capacity, 0, 0.0, 0.0, 0))
        self._capacity = self._header.capacity
        self._appended, self._start_cpu_s = self._header.written, 0.0
        if self._header.magic != _MAGIC:
            raise ValueError("this file does not hold a ring of samples")

    @property
    def _header(self) -> _Header:
        return _Header(*_HEADER.unpack_from(self._memory, 8))

    def _set(self, header: _Header) -> None:
        _HEADER.pack_into(self._memory, 8, *header)

    @property
    def stopping(self) -> bool:
        """Whether the writer was asked to stop."""
        return self._memory[0] == 1

    def stop(self) -> None:
        """Ask the writer to stop."""
        self._memory[0] = 1

    @property
    def written(self) -> int:
        """How many samples were ever written."""
        return self._header.written

    @property
    def cpu_s(self) -> float:
        """CPU time of the writer's process since its first sample, in s."""
        return self._header.cpu_s - self._header.start_cpu_s

    @property
    def start_cpu_s(self) -> float:
        """CPU time of the writer's process until its first sample, in s."""
        return self._header.start_cpu_s

    def append(self, sample: Sample, cpu_s: float) -> None:
        """Write one sample; ``cpu_s`` is the writer's CPU time so far."""
        known = _figures(sample)
        values = [_NAN if value is None else value for value in known]
        place = _PAGE + self._appended % self._capacity * _SLOT.size
        _SLOT.pack_into(self._memory, place, *values, _mask(sample.throttles))
        if self._appended == 0:
            self._start_cpu_s = cpu_s
        self._appended += 1
        _PROGRESS.pack_into(self._memory, _WRITTEN, self._appended, self._start_cpu_s, cpu_s)

    def note(self, missing: Mapping[str, str]) -> None:
        """Keep why figures are missing. What does not fit into the header is left out."""
        room = _PAGE - 8 - _HEADER.size
        kept = dict(missing)
        while len(text := json.dumps(kept).encode()) > room:
            kept.popitem()
        start = 8 + _HEADER.size
        self._memory[start : start + len(text)] = text
        self._set(self._header._replace(notes_bytes=len(text)))

    def missing(self) -> dict[str, str]:
        """Figure -> why it was missing in at least one sample."""
        start, length = 8 + _HEADER.size, self._header.notes_bytes
        found: dict[str, str] = json.loads(self._memory[start : start + length] or b"{}")
        return found

    def samples(self) -> list[Sample]:
        """What is in the ring, oldest first. The writer should have stopped."""
        written = self.written
        first = max(0, written - self._capacity)
        return [self._sample(i % self._capacity) for i in range(first, written)]

    def _sample(self, slot: int) -> Sample:
        when, *values, mask = _SLOT.unpack_from(self._memory, _PAGE + slot * _SLOT.size)
        figures: dict[str, float | int | None] = {}
        for name, value in zip(FIGURES, values, strict=True):
            whole = name.endswith(("_bytes", "_errors"))
            figures[name] = None if math.isnan(value) else int(value) if whole else value
        words = tuple(word for i, word in enumerate(THROTTLES) if int(mask) >> i & 1)
        return Sample(monotonic_s=when, throttles=None if mask < 0 else words, **figures)  # type: ignore[arg-type]

    def close(self) -> None:
        """Unmap the memory."""
        self._memory.close()


def _mask(throttles: tuple[str, ...] | None) -> float:
    if throttles is None:
        return -1.0
    return float(sum(1 << THROTTLES.index(word) for word in throttles))
