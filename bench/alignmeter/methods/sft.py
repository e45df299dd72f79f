"""SFT: one forward and one backward over demonstrations, the chosen answers of 2B pairs."""

__all__ = ["SFT", "SftSettings", "SftStep"]

from dataclasses import asdict, dataclass

import torch

from alignmeter.batches import Batch
from alignmeter.cells.cell import Cell
from alignmeter.flops import Tally, responses
from alignmeter.methods.losses import sft_loss
from alignmeter.parallel import within
from alignmeter.training.accumulation import AccumulatingStep
from alignmeter.training.heads import MeanHead, mean_head
from alignmeter.training.logprobs import hidden_states
from alignmeter.training.policy_step import PolicyStep
from alignmeter.training.setup import Setup
from alignmeter.training.step import Method, Outcome, Probe


@dataclass(frozen=True, kw_only=True, slots=True)
class SftSettings:
    """A learning rate that no architecture diverges at."""

    learning_rate: float = 1e-5


class SftStep(PolicyStep, AccumulatingStep):
    """The policy of one cell."""

    rows = "chosen"

    def __init__(self, setup: Setup, settings: SftSettings) -> None:
        super().__init__(setup)
        self.train(settings.learning_rate)

    def once(self, batch: Batch, probe: Probe) -> Outcome:
        """One pass over rows of demonstrations."""
        with probe.phase("forward"):
            loss = self._loss(batch)
        return self.finished(loss, batch, probe, share=self.token_share(batch))

    def _loss(self, batch: Batch) -> torch.Tensor:
        cell, mask = self.setup.cell, batch.response_mask
        head = mean_head(cell.loss_head)

        def mean_loss(head: MeanHead) -> torch.Tensor:
            hidden = hidden_states(self.policy, batch.ids, batch.where)
            return head.mean_loss(
                self.policy, hidden, batch.ids, batch.where, mask, kernels=cell.kernels
            )

        with self.setup.forward():
            if head is not None:
                return within(self.policy, mean_loss, head)
            logprobs = self.logprobs(self.policy, batch.ids, batch.where)
        return sft_loss(logprobs, mask)


def _passes(cell: Cell, tally: Tally) -> None:
    tally.train(responses(cell))


SFT = Method(
    name="sft",
    phases=("forward", "backward", "optimizer"),
    rows=SftStep.rows,
    hyperparameters=asdict(SftSettings()),
    build=lambda setup: SftStep(setup, SftSettings()),
    passes=_passes,
)
