"""The CPU allocator's own events during a step: the truth that the ledger is held against."""

__all__ = ["CpuEvents", "record_events"]

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from alignmeter.worker.memory.allocations import MARKER_BYTES
from alignmeter.worker.memory.torch_internals import recorded_memory


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
        deltas = self.deltas
        i = 0
        while i < len(deltas):
            if deltas[i] == MARKER_BYTES and deltas[i + 1 : i + 2] == [-MARKER_BYTES]:
                rows.append((entry, peak))
                entry = peak = live
                i += 2
                continue
            live += deltas[i]
            peak = max(peak, live)
            i += 1
        rows.append((entry, peak))
        return rows


@contextlib.contextmanager
def record_events() -> Iterator[CpuEvents]:
    """Collect allocator events through torch's profiler; they are there when the context ends."""
    events = CpuEvents()
    with recorded_memory(events.deltas):
        yield events
