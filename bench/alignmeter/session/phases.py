"""The probe of timed steps: device time per phase, without waiting inside the step."""

__all__ = ["PhaseClock"]

import contextlib
from collections.abc import Iterable, Iterator

import torch

from alignmeter.accelerators.base import Accelerator, Mark


class PhaseClock:
    """Collects marks at phase edges; `seconds` reads them once the device is synchronised."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._spans: list[tuple[str, Mark, Mark]] = []

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Note when ``name`` begins and ends on the device."""
        start = self._accelerator.mark()
        yield
        self._spans.append((name, start, self._accelerator.mark()))

    def owns(self, owner: str, tensors: Iterable[torch.Tensor]) -> None:
        """Ignored: owners are asked for in the memory step only."""

    def seconds(self) -> dict[str, float]:
        """Phase -> s, summed over its repeats (PPO's epochs and minibatches)."""
        totals: dict[str, float] = {}
        for name, start, end in self._spans:
            totals[name] = totals.get(name, 0.0) + self._accelerator.seconds(start, end)
        return totals
