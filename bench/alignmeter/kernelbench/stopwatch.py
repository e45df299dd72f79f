"""Times of single calls on a device, by its own clock and from cold caches."""

__all__ = ["Call", "Pace", "Stopwatch"]

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from alignmeter.accelerators.base import Accelerator

Call = Callable[[], object]
_COLD_S, _WARM_S = 0.01, 0.05
"""Of calls in a round. A cold call pays for its own caches; a single short warm one would pay for
those that the other side has just taken."""
_MOST_CALLS, _MOST_FLUSHES = 1000, 100
"""In a round, and before a call. What the host takes longer to ask for is a whole step, of which
its launches are a part."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How a round of one call goes: ``calls`` of it, each after ``flushes`` of the caches."""

    calls: int
    flushes: int


class Stopwatch:
    """Reads the clock of one accelerator around each of a round's calls.

    Where the accelerator has a cache of its own, a buffer of twice its size is zeroed before each
    call, outside of the time taken: the call finds nothing of its tensors there, as in a step that
    had other things to do in between. Zeroing also keeps the device busy for as long as the host
    takes to ask for the call, so that launches are no part of a time unless they are the longest
    part. Nothing waits for the device before the round's end.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        size = accelerator.cache_bytes()
        self._buffer = None
        if size is not None:
            device = accelerator.torch_device()
            self._buffer = torch.empty(2 * size, dtype=torch.uint8, device=device)

    def pace(self, call: Call) -> Pace:
        """Of a call that was made before, since builds and autotuning must not count. Makes one."""
        accelerator = self._accelerator
        accelerator.synchronise()
        asked = time.perf_counter()
        start = accelerator.mark()
        call()
        end = accelerator.mark()
        host_s = time.perf_counter() - asked
        self._flush()  # the device may wait for this one to be asked for
        begun = accelerator.mark()
        self._flush()
        flushed = accelerator.mark()
        accelerator.synchronise()
        call_s, flush_s = accelerator.seconds(start, end), accelerator.seconds(begun, flushed)
        if self._buffer is None:
            return Pace(calls=_times(_WARM_S, call_s, _MOST_CALLS), flushes=0)
        flushes = _times(host_s, flush_s, _MOST_FLUSHES)
        return Pace(calls=_times(_COLD_S, call_s, _MOST_CALLS), flushes=flushes)

    def seconds(self, call: Call, pace: Pace) -> float:
        """Mean of a round's calls, in s."""
        accelerator = self._accelerator
        spans = []
        for _ in range(pace.calls):
            for _ in range(pace.flushes):
                self._flush()
            start = accelerator.mark()
            call()
            spans.append((start, accelerator.mark()))
        accelerator.synchronise()
        return sum(accelerator.seconds(*span) for span in spans) / len(spans)

    def _flush(self) -> None:
        if self._buffer is not None:
            self._buffer.zero_()


def _times(wanted_s: float, each_s: float, most: int) -> int:
    """How many of ``each_s`` last for ``wanted_s``; one if the clock was too coarse to tell."""
    return max(1, min(most, math.ceil(wanted_s / each_s))) if each_s > 0 else 1
