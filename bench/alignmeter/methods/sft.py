"""SFT: one forward and one backward over demonstrations, the chosen answers of 2B pairs."""

__all__ = ["SFT", "SftSettings", "SftStep"]

from dataclasses import asdict, dataclass

import torch
from torch import nn

from alignmeter.batches import Batch
from alignmeter.cells.cell import Cell
from alignmeter.flops import Tally, responses
from alignmeter.methods.losses import sft_loss
from alignmeter.training.logprobs import response_logprobs
from alignmeter.training.setup import Setup
from alignmeter.training.step import Method, Outcome, Probe, TrainingStep, descend


@dataclass(frozen=True, kw_only=True, slots=True)
class SftSettings:
    """A learning rate that no architecture diverges at."""

    learning_rate: float = 1e-5


class SftStep(TrainingStep):
    """The policy of one cell."""

    def __init__(self, setup: Setup, settings: SftSettings) -> None:
        self.setup = setup
        self.policy = setup.policy()
        self.optimizer = setup.optimizer(
            self.policy.parameters(), learning_rate=settings.learning_rate
        )

    def models(self) -> dict[str, nn.Module]:
        """The policy."""
        return {"policy": self.policy}

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """One."""
        return [self.optimizer]

    def run(self, batch: Batch, probe: Probe) -> Outcome:
        """One SFT step on 2B rows."""
        with probe.phase("forward"):
            with self.setup.forward():
                logprobs = response_logprobs(
                    self.policy, batch.ids, batch.prompt_len, kernels=self.setup.cell.kernels
                )
            loss = sft_loss(logprobs, batch.response_mask)
        return Outcome(
            loss=descend(loss, self.optimizers(), probe),
            trained_tokens=batch.real_tokens,
            padded_tokens=batch.padded_tokens,
        )


def _passes(cell: Cell, tally: Tally) -> None:
    tally.train(responses(cell))


SFT = Method(
    name="sft",
    phases=("forward", "backward", "optimizer"),
    rows="chosen",
    hyperparameters=asdict(SftSettings()),
    build=lambda setup: SftStep(setup, SftSettings()),
    passes=_passes,
)
