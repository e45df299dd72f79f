"""ORPO: SFT on chosen sequences and an odds ratio against rejected ones, in one forward."""

__all__ = ["ORPO", "OrpoSettings", "OrpoStep"]

from dataclasses import asdict, dataclass

import torch

from alignmeter.batches import Batch
from alignmeter.cells.cell import Cell
from alignmeter.flops import Tally, sequences
from alignmeter.methods.losses.orpo import orpo_loss
from alignmeter.methods.losses.sft import sft_loss
from alignmeter.training.policy_step import PolicyStep
from alignmeter.training.setup import Setup
from alignmeter.training.step import Method, Outcome, Probe


@dataclass(frozen=True, kw_only=True, slots=True)
class OrpoSettings:
    """lambda of the paper's experiments."""

    learning_rate: float = 1e-5
    weight: float = 0.1


class OrpoStep(PolicyStep):
    """The policy of one cell."""

    def __init__(self, setup: Setup, settings: OrpoSettings) -> None:
        super().__init__(setup)
        self.settings = settings
        self.train(settings.learning_rate)

    def run(self, batch: Batch, probe: Probe) -> Outcome:
        """One ORPO step on 2B rows.

        The likelihood of chosen sequences counts their prompts too, as in the authors' code and in
        TRL: every token but the first is predicted.
        """
        mask, prompt = batch.response_mask, batch.prompt_len
        with probe.phase("forward"):
            with self.setup.forward():
                every = self.logprobs(self.policy, batch.ids, 1)
            logprobs = every[:, prompt - 1 :]
            real = torch.cat([mask.new_ones(len(mask), prompt - 1), mask], dim=1)
            chosen = len(mask) // 2
            loss, accuracy = orpo_loss(
                sft_loss(every[:chosen], real[:chosen]),
                logprobs,
                mask,
                weight=self.settings.weight,
            )
            logprob = (logprobs * mask).detach().sum() / mask.sum()
        return self.trained(loss, batch, probe, metrics={"logprob": logprob}, accuracy=accuracy)


def _passes(cell: Cell, tally: Tally) -> None:
    length = cell.seq_len
    tally.train(sequences(2 * cell.batch, length, logits=length - 1))


ORPO = Method(
    name="orpo",
    phases=("forward", "backward", "optimizer"),
    hyperparameters=asdict(OrpoSettings()),
    build=lambda setup: OrpoStep(setup, OrpoSettings()),
    passes=_passes,
)
