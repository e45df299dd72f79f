"""The probe of timed steps: device time per phase, without waiting inside the step."""

__all__ = ["PhaseClock"]

import contextlib
import time
from collections.abc import Iterable, Iterator

import torch

from alignmeter.accelerators.base import Accelerator, Mark


class PhaseClock:
    """Collects marks at phase edges; `seconds` reads them once the device is synchronised."""

    def __init__(self, accelerator: Accelerator) -> None:
        """The clock's own start is now; the device should be synchronised."""
        self._accelerator = accelerator
        self._start_s, self._start = time.monotonic(), accelerator.mark()
        self._spans: list[tuple[str, Mark, Mark]] = []

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Note when ``name`` begins and ends on the device."""
        start = self._accelerator.mark()
        yield
        self._spans.append((name, start, self._accelerator.mark()))

    def owns(self, owner: str, tensors: Iterable[torch.Tensor]) -> None:
        """Ignored: owners are asked for in the memory step only."""

    def spans(self) -> list[tuple[str, float, float]]:
        """(phase, start, end) in order, in s of the host's monotonic clock.

        Device times are counted from the clock's start, where host and device agreed.
        """
        return [(name, self._since(start), self._since(end)) for name, start, end in self._spans]

    def _since(self, mark: Mark) -> float:
        return self._start_s + self._accelerator.seconds(self._start, mark)

    def seconds(self) -> dict[str, float]:
        """Phase -> s, summed over its repeats (PPO's epochs and minibatches)."""
        totals: dict[str, float] = {}
        for name, start, end in self._spans:
            totals[name] = totals.get(name, 0.0) + self._accelerator.seconds(start, end)
        return totals
