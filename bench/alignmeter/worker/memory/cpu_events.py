"""The CPU allocator's own events during a step: the truth that the ledger is held against."""

__all__ = ["CpuEvents", "record_events"]

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from alignmeter.worker.memory.allocations import MARKER_BYTES
from alignmeter.worker.memory.torch_internals import recorded_memory

_BETWEEN = 16
"""Events of other threads, such as those of collectives, that may come into a marker."""


@dataclass(kw_only=True, slots=True)
class CpuEvents:
    """Signed byte counts in order, markers included."""

    deltas: list[int] = field(default_factory=list)

    def replay(self) -> list[tuple[int, int]]:
        """Per operator: (bytes live when it began, most bytes live until the next began).

        Both relative to the start of the recording; entry 0 is what came before the first operator.
        """
        rows: list[tuple[int, int]] = []
        live = entry = peak = 0
        freed: set[int] = set()
        for at, delta in enumerate(self.deltas):
            if at in freed:
                continue
            if delta == MARKER_BYTES and (end := self._freed(at)) is not None:
                freed.add(end)
                rows.append((entry, peak))
                entry = peak = live
                continue
            live += delta
            peak = max(peak, live)
        rows.append((entry, peak))
        return rows

    def _freed(self, at: int) -> int | None:
        """Where the marker taken ``at`` is freed: next, but for what other threads do meanwhile."""
        near = self.deltas[at + 1 : at + 1 + _BETWEEN]
        return at + 1 + near.index(-MARKER_BYTES) if -MARKER_BYTES in near else None


@contextlib.contextmanager
def record_events() -> Iterator[CpuEvents]:
    """Collect allocator events through torch's profiler; they are there when the context ends."""
    events = CpuEvents()
    with recorded_memory(events.deltas):
        yield events
