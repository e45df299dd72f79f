"""The probe of timed steps: device time per phase, without waiting inside the step."""

__all__ = ["PhaseClock"]

import contextlib
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager

import torch

from alignmeter.accelerators.base import Accelerator, Mark
from alignmeter.worker.messages import StepSpans
from alignmeter.worker.progress import advance


class PhaseClock:
    """Collects marks at phase edges; `seconds` reads them once the device is synchronised."""

    def __init__(self, accelerator: Accelerator, zero: tuple[float, Mark] | None = None) -> None:
        """The clock's own start is now. ``zero``: that of an earlier clock, whose times this one
        continues; without it the device should be synchronised.
        """
        self._accelerator = accelerator
        now_s, self._start = time.monotonic(), accelerator.mark()
        self.zero = (now_s, self._start) if zero is None else zero
        """Where host and device agreed: s of the host's monotonic clock, and the mark."""
        self._spans: list[tuple[str, Mark, Mark]] = []
        self._end: Mark = None

    def stop(self) -> None:
        """The step ends here on the device; `step_spans` tells when that was."""
        self._end = self._accelerator.mark()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Note when ``name`` begins and ends on the device."""
        advance(name)
        start = self._accelerator.mark()
        yield
        self._spans.append((name, start, self._accelerator.mark()))

    def owns(self, owner: str, tensors: Iterable[torch.Tensor]) -> None:
        """Ignored: owners are asked for in the memory step only."""

    def uses(self, owner: str, nbytes: Iterable[int], *, beside: int = 0) -> None:
        """Ignored: so is what they use."""

    def aside(self) -> AbstractContextManager[None]:
        """Without effect: no operator is watched."""
        return contextlib.nullcontext()

    def spans(self) -> list[tuple[str, float, float]]:
        """(phase, start, end) in order, in s of the host's monotonic clock.

        Device times are counted from `zero`.
        """
        return [(name, self._since(start), self._since(end)) for name, start, end in self._spans]

    def step_spans(self) -> StepSpans:
        """The stopped step and its phases, in the same times."""
        start_s, end_s = self._since(self._start), self._since(self._end)
        return StepSpans(start_s=start_s, end_s=end_s, phases=self.spans())

    def _since(self, mark: Mark) -> float:
        zero_s, zero = self.zero
        return zero_s + self._accelerator.seconds(zero, mark)

    def seconds(self) -> dict[str, float]:
        """Phase -> s, summed over its repeats (PPO's epochs and minibatches)."""
        totals: dict[str, float] = {}
        for name, start, end in self._spans:
            totals[name] = totals.get(name, 0.0) + self._accelerator.seconds(start, end)
        return totals
