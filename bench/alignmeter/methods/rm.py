"""Reward modelling: a scalar head on the backbone learns to rank chosen above rejected answers."""

__all__ = ["RM", "RmSettings", "RmStep"]

from dataclasses import asdict, dataclass, replace

import torch
from torch import nn

from alignmeter.batches import Batch
from alignmeter.cells.cell import Cell
from alignmeter.flops import Tally, sequences
from alignmeter.methods.losses import rm_loss
from alignmeter.training.accumulation import AccumulatingStep
from alignmeter.training.logprobs import scored
from alignmeter.training.setup import Setup
from alignmeter.training.step import Method, Outcome, Probe


@dataclass(frozen=True, kw_only=True, slots=True)
class RmSettings:
    """A learning rate that no architecture diverges at."""

    learning_rate: float = 1e-5


class RmStep(AccumulatingStep):
    """The reward model of one cell, in training."""

    def __init__(self, setup: Setup, settings: RmSettings) -> None:
        self.setup = setup
        self.reward = setup.trained_reward()
        setup.shard(self.models())
        self.optimizer = setup.optimizer(
            self.reward.parameters(), learning_rate=settings.learning_rate
        )

    def models(self) -> dict[str, nn.Module]:
        """The reward model."""
        return {"reward": self.reward}

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """One."""
        return [self.optimizer]

    def once(self, batch: Batch, probe: Probe) -> Outcome:
        """One pass over chosen and rejected rows: a score is read at the last real token."""
        with probe.phase("forward"):
            with self.setup.forward():
                scores = scored(self.reward, batch.ids, batch.where)
            scores = scores.gather(1, batch.last_token.unsqueeze(1)).squeeze(1)
            loss, accuracy = rm_loss(scores)
        share = self.row_share(batch)
        outcome = self.finished(loss, batch, probe, share=share, accuracy=accuracy)
        score = scores.detach().mean()
        return replace(outcome, metrics={"score": score if share == 1 else score * share})


def _passes(cell: Cell, tally: Tally) -> None:
    tally.train(sequences(2 * cell.batch, cell.seq_len, scored=True))


RM = Method(
    name="rm",
    phases=("forward", "backward", "optimizer"),
    hyperparameters=asdict(RmSettings()),
    build=lambda setup: RmStep(setup, RmSettings()),
    passes=_passes,
)
