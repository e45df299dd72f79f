"""ORPO: SFT on chosen sequences and an odds ratio against rejected ones, in one forward."""

__all__ = ["ORPO", "OrpoSettings", "OrpoStep"]

from dataclasses import asdict, dataclass

import torch

from alignmeter.batches import Batch
from alignmeter.batches.spans import at_responses, moved
from alignmeter.cells.cell import Cell
from alignmeter.flops import Tally, logit_tokens, sequences
from alignmeter.methods.losses.orpo import orpo_loss
from alignmeter.methods.losses.sft import sft_loss
from alignmeter.parallel import within
from alignmeter.training.accumulation import AccumulatingStep
from alignmeter.training.logprobs import head_logprobs, hidden_states
from alignmeter.training.policy_step import PolicyStep
from alignmeter.training.setup import Setup
from alignmeter.training.step import Method, Outcome, Probe


@dataclass(frozen=True, kw_only=True, slots=True)
class OrpoSettings:
    """lambda of the paper's experiments."""

    learning_rate: float = 1e-5
    weight: float = 0.1


class OrpoStep(PolicyStep, AccumulatingStep):
    """The policy of one cell."""

    def __init__(self, setup: Setup, settings: OrpoSettings) -> None:
        super().__init__(setup)
        self.settings = settings
        self.train(settings.learning_rate)

    def _every(self, batch: Batch) -> torch.Tensor:
        """Log-prob [2B, L-1] of every token but the first."""
        cell = self.setup.cell

        def every() -> torch.Tensor:
            hidden = hidden_states(self.policy, batch.ids, batch.where)
            return head_logprobs(
                self.policy, hidden, batch.ids, 1, kernels=cell.kernels, head=cell.loss_head
            )

        return within(self.policy, every)

    def _likelihood(self, every: torch.Tensor, real: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Mean over real tokens of the chosen rows; of a part, what it counts in the whole's, which
        is no mean over rows.
        """
        chosen = len(real) // 2
        nll, whole = sft_loss(every[:chosen], real[:chosen]), self.whole(batch)
        if whole is batch:
            return nll
        share = real[:chosen].sum() / _real(whole)[: len(whole.ids) // 2].sum()
        return nll * share / self.row_share(batch)

    def once(self, batch: Batch, probe: Probe) -> Outcome:
        """One pass over chosen and rejected rows.

        The likelihood of chosen sequences counts their prompts too, as in the authors' code and in
        TRL: every token but the first is predicted.
        """
        mask = batch.response_mask
        with probe.phase("forward"):
            with self.setup.forward():
                every = self._every(batch)
            logprobs = at_responses(every, moved(batch.where, -1))
            real = _real(batch)
            loss, accuracy = orpo_loss(
                self._likelihood(every, real, batch),
                logprobs,
                mask,
                weight=self.settings.weight,
            )
            logprob = (logprobs * mask).detach().sum() / mask.sum()
        return self.trained(loss, batch, probe, metrics={"logprob": logprob}, accuracy=accuracy)


def _real(batch: Batch) -> torch.Tensor:
    """[2B, L-1]: 1 where a token of a sequence is real, the first one apart."""
    mask = batch.response_mask
    if batch.spans is None:
        return torch.cat([mask.new_ones(len(mask), batch.prompt_len - 1), mask], dim=1)
    places = torch.arange(1, batch.ids.shape[1], device=mask.device)
    return (places < batch.spans.stops.unsqueeze(1)).to(mask.dtype)


def _passes(cell: Cell, tally: Tally) -> None:
    length = cell.seq_len
    tally.train(sequences(2 * cell.batch, length, logits=logit_tokens(cell, length - 1)))


ORPO = Method(
    name="orpo",
    phases=("forward", "backward", "optimizer"),
    hyperparameters=asdict(OrpoSettings()),
    build=lambda setup: OrpoStep(setup, OrpoSettings()),
    passes=_passes,
)
