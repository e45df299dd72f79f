"""One step of the optimizers on a batch computed in parts: in several passes, on several ranks."""

__all__ = ["AccumulatingStep"]

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from alignmeter.batches import Batch
from alignmeter.batches.parts import parts
from alignmeter.training.outcomes import over_ranks
from alignmeter.training.setup import Setup
from alignmeter.training.step import Outcome, Probe, TrainingStep, descend, stepped


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pass:
    """One of several. ``whole``: the batch that it is a part of; ``last``: no other follows on
    this rank.
    """

    whole: Batch
    last: bool


class AccumulatingStep(TrainingStep):
    """A step whose loss is a mean over rows or over tokens, so that passes over parts add up to it,
    one after the other or on several ranks.
    """

    setup: Setup
    _pass: _Pass | None = None

    @abstractmethod
    def once(self, batch: Batch, probe: Probe) -> Outcome:
        """One pass over ``batch``, ended by `trained` or `finished`: the whole of it, or a part."""

    def run(self, batch: Batch, probe: Probe) -> Outcome:
        """One step on this rank's rows, in as many passes as the cell has ``microbatches``."""
        count, ranks = self.setup.cell.microbatches, self.setup.ranks
        if count == ranks.size == 1:
            return self.once(batch, probe)
        own = ranks.part(batch, self.rows)
        found = []
        for number, part in enumerate([own] if count == 1 else parts(own, count, self.rows)):
            self._pass = _Pass(whole=batch, last=number == count - 1)
            found.append(self.once(part, probe))
        self._pass = None
        names = found[0].metrics
        accuracies = [one.accuracy for one in found if one.accuracy is not None]
        outcome = Outcome(
            loss=_sum(one.loss for one in found),
            trained_tokens=batch.real_tokens,
            padded_tokens=batch.padded_tokens,
            metrics={name: _sum(one.metrics[name] for one in found) for name in names},
            accuracy=_sum(accuracies) if accuracies else None,
        )
        return over_ranks(outcome, ranks, means=False)

    def token_share(self, batch: Batch) -> torch.Tensor | float:
        """Of the whole batch's real response tokens, those of ``batch``; scalar."""
        if self._pass is None:
            return 1.0
        return batch.response_mask.sum() / self._pass.whole.response_mask.sum()

    def row_share(self, batch: Batch) -> float:
        """Of the whole batch's rows, those of ``batch``."""
        return 1.0 if self._pass is None else len(batch.ids) / len(self._pass.whole.ids)

    def whole(self, batch: Batch) -> Batch:
        """The batch that ``batch`` is a part of, or itself."""
        return batch if self._pass is None else self._pass.whole

    def trained(
        self,
        loss: torch.Tensor,
        batch: Batch,
        probe: Probe,
        *,
        metrics: Mapping[str, torch.Tensor] | None = None,
        accuracy: torch.Tensor | None = None,
    ) -> Outcome:
        """Backward pass and step of ``loss``, a mean over the rows of ``batch``.

        ``metrics`` are means over its response tokens.
        """
        return self.finished(
            loss,
            batch,
            probe,
            share=self.row_share(batch),
            metrics=metrics,
            metric_share=self.token_share(batch),
            accuracy=accuracy,
        )

    def finished(
        self,
        loss: torch.Tensor,
        batch: Batch,
        probe: Probe,
        *,
        share: torch.Tensor | float,
        metrics: Mapping[str, torch.Tensor] | None = None,
        metric_share: torch.Tensor | float = 1.0,
        accuracy: torch.Tensor | None = None,
    ) -> Outcome:
        """Backward pass of ``loss`` over the rows of ``batch``, and after the last part the step.

        ``share``: how much of the whole batch's loss, a mean, is that of this part. ``metrics``
        are means too, and ``metric_share`` what this part counts in them; ``accuracy`` is a mean
        over rows.
        """
        if self._pass is None:
            return Outcome(
                loss=descend(loss, self.optimizers(), probe),
                trained_tokens=batch.real_tokens,
                padded_tokens=batch.padded_tokens,
                metrics=metrics or {},
                accuracy=accuracy,
            )
        with probe.phase("backward"):
            loss = loss * share
            # Gradients are means over ranks, and the parts of all of them add up to the whole.
            (loss if self.setup.ranks.size == 1 else loss * self.setup.ranks.size).backward()
        if self._pass.last:
            stepped(self.optimizers(), probe)
        found = metrics or {}
        return Outcome(
            loss=loss.detach(),
            trained_tokens=0,
            padded_tokens=0,
            metrics={name: value * metric_share for name, value in found.items()},
            accuracy=None if accuracy is None else accuracy * self.row_share(batch),
        )


def _sum(values: Iterable[torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(values)).sum()
