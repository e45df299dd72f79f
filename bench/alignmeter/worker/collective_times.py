"""How long collectives take in one profiled step, and for how much of that a rank waits idle."""

__all__ = ["collective_times", "uncovered_s"]

from collections.abc import Callable, Iterable
from typing import Any

import torch

from alignmeter.worker.memory.collectives import kind_of

_CALLS, _WORK = "c10d::", "gloo:"
"""How the profiler names what a step asks for, and what another thread does for it."""
_BUSY = ("aten::", "alignmeter::", "fsdp::")

Span = tuple[float, float]


def collective_times(
    run: Callable[[], object], device: torch.device
) -> dict[str, tuple[float, float]]:
    """Kind -> (s that its collectives took, s of those in which the step computed nothing).

    Empty where the profiler does not tell: on devices whose collectives are kernels, and where what
    was asked for and what was done are not as many.
    """
    if device.type != "cpu":
        return {}
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiler:
        run()
    events = sorted(profiler.events(), key=lambda event: event.time_range.start)
    calls = [event for event in events if event.name.startswith(_CALLS)]
    done = [event for event in events if event.name.startswith(_WORK)]
    if len(calls) != len(done):
        return {}
    step = {event.thread for event in calls}
    busy = [_span(e) for e in events if e.thread in step and e.name.startswith(_BUSY)]
    found: dict[str, tuple[float, float]] = {}
    # Each is waited for before the next one is asked for, so both lists are in one order.
    for call, work in zip(calls, done, strict=True):
        kind = kind_of(call.name.removeprefix(_CALLS))
        if kind is not None:
            total, exposed = found.get(kind, (0.0, 0.0))
            begin, end = _span(work)
            found[kind] = total + end - begin, exposed + uncovered_s((begin, end), busy)
    return found


def _span(event: Any) -> Span:
    """In s; the profiler has µs."""
    return event.time_range.start / 1e6, event.time_range.end / 1e6


def uncovered_s(span: Span, busy: Iterable[Span]) -> float:
    """Of ``span`` what lies in none of ``busy``, which are in order of their begins."""
    at, end, found = *span, 0.0
    for begins, ends in busy:
        if begins >= end:
            break
        found += max(0.0, begins - at)
        at = max(at, min(ends, end))
    return found + max(0.0, end - at)
