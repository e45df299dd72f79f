"""Whole steps without a wait between them, for the energy window."""

__all__ = ["QueuedSteps"]

from collections.abc import Callable, Sequence

from alignmeter.accelerators.base import Accelerator
from alignmeter.batches import Batch
from alignmeter.training.step import TrainingStep
from alignmeter.worker.messages import StepSpans
from alignmeter.worker.phases import PhaseClock


class QueuedSteps:
    """Steps on ``batches`` in turns, which lie on the device already: to fetch one waits for it.

    The host runs ahead of the device, which thus has the next step before it is through with this
    one. What a step itself waits for, it waits for here too.
    """

    def __init__(
        self,
        step: TrainingStep,
        batches: Sequence[Batch],
        accelerator: Accelerator,
        agreed: Callable[[int], int] = int,
    ) -> None:
        """``agreed``: the largest of the counts that all who take the steps together want."""
        self._step, self._batches, self._accelerator = step, batches, accelerator
        self.agreed = agreed
        self._clocks: list[PhaseClock] = []

    def run(self, count: int) -> None:
        """That many; the device is synchronised before the first and after the last."""
        self._accelerator.synchronise()
        zero = None
        for _ in range(count):
            clock = PhaseClock(self._accelerator, zero)
            zero = clock.zero
            self._step.run(self._batches[len(self._clocks) % len(self._batches)], clock)
            clock.stop()
            self._clocks.append(clock)
        self._accelerator.synchronise()

    def spans(self) -> list[StepSpans]:
        """When each step and its phases ran, by the device's marks."""
        return [clock.step_spans() for clock in self._clocks]
