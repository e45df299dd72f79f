"""The CPU allocator's own events during a step: the truth that the ledger is held against."""

__all__ = ["CpuEvents", "record_events"]

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from alignmeter.worker.memory.allocations import MARKER_BYTES


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
    """Collect allocator events through torch's profiler.

    The context uses the profiler's own entry points, because only they take the scopes to record:
    with operators among them the first Mamba step of a process took 18 times as long as without a
    profiler, with user scopes only, twice as long.
    """
    from torch._C._profiler import (
        ProfilerActivity,
        ProfilerConfig,
        ProfilerState,
        RecordScope,
        _ExperimentalConfig,
    )

    profiler: Any = torch.autograd
    config = ProfilerConfig(
        ProfilerState.KINETO,
        False,  # report_input_shapes
        True,  # profile_memory
        False,  # with_stack
        False,  # with_flops
        False,  # with_modules
        _ExperimentalConfig(),
    )
    events = CpuEvents()
    profiler._prepare_profiler(config, {ProfilerActivity.CPU})
    profiler._enable_profiler(config, {ProfilerActivity.CPU}, {RecordScope.USER_SCOPE})
    try:
        yield events
    finally:
        result = profiler._disable_profiler()
        memory = [(e.start_ns(), e.nbytes()) for e in result.events() if e.name() == "[memory]"]
        memory.sort(key=lambda event: event[0])
        events.deltas.extend(nbytes for _, nbytes in memory)
