"""DPO: two forwards over chosen and rejected answers, one backward; losses by ``dpo_loss``."""

__all__ = ["DPO", "DpoSettings", "DpoStep"]

from dataclasses import asdict, dataclass

import torch

from alignmeter.batches import Batch, BatchSource
from alignmeter.cells.cell import Cell
from alignmeter.flops import Tally, responses
from alignmeter.methods.losses.dpo import DPO_LOSSES, dpo_loss
from alignmeter.training.accumulation import AccumulatingStep
from alignmeter.training.policy_step import PolicyStep
from alignmeter.training.setup import Setup
from alignmeter.training.step import Method, Outcome, Probe


@dataclass(frozen=True, kw_only=True, slots=True)
class DpoSettings:
    """beta of the paper's experiments; a learning rate that no architecture diverges at."""

    learning_rate: float = 1e-5
    beta: float = 0.1


class DpoStep(PolicyStep, AccumulatingStep):
    """Policy and ref_model of one cell."""

    def __init__(self, setup: Setup, settings: DpoSettings) -> None:
        super().__init__(setup)
        self.settings = settings
        self.ref = setup.ref()
        self.train(settings.learning_rate)
        self._precomputed: torch.Tensor | None = None

    def prepare(self, batches: BatchSource, probe: Probe) -> None:
        """With ``ref precomputed``: the ref_model's sums [2, pairs] of all pairs, once.

        Before the first step the policy is the ref_model, so no second model is needed.
        """
        if self.setup.cell.ref != "precomputed":
            return
        sums = torch.empty(2, batches.kept, device=self.setup.device)
        for step in range(-(-batches.kept // batches.batch)):
            batch = batches.take(step, self.setup.device)
            with probe.phase("ref_precompute"), torch.no_grad(), self.setup.forward():
                own = self.setup.ranks.part(batch, self.rows)
                found = self.response_sums(self.policy, own)
            sums[:, list(batch.pairs)] = self._of_pairs(found)
        self._precomputed = sums

    def _of_pairs(self, own: torch.Tensor) -> torch.Tensor:
        """[2, pairs] of this rank's sums, its chosen rows first, and of all others'."""
        ranks = self.setup.ranks
        return ranks.joined(own).view(ranks.size, 2, -1).transpose(0, 1).flatten(1)

    def _ref_sums(self, batch: Batch, probe: Probe) -> torch.Tensor:
        if self._precomputed is not None:
            return self._precomputed[:, list(batch.pairs)].flatten()
        with probe.phase("ref_forward"), self.setup.as_ref(self.policy, self.ref) as ref:
            return self.response_sums(ref, batch)

    def once(self, batch: Batch, probe: Probe) -> Outcome:
        """One pass over chosen and rejected rows."""
        ref_sums = self._ref_sums(batch, probe)
        with probe.phase("forward"):
            with self.setup.forward():
                sums = self.response_sums(self.policy, batch)
            loss, accuracy = dpo_loss(
                sums,
                ref_sums,
                batch.response_mask.sum(1),
                beta=self.settings.beta,
                kind=self.setup.cell.dpo_loss,
            )
        logprob = sums.detach().sum() / batch.response_mask.sum()
        return self.trained(loss, batch, probe, metrics={"logprob": logprob}, accuracy=accuracy)


def _passes(cell: Cell, tally: Tally) -> None:
    if cell.ref != "precomputed":
        tally.infer("ref_forward", responses(cell), adapted=False)
    tally.train(responses(cell))


DPO = Method(
    name="dpo",
    phases=("ref_forward", "forward", "backward", "optimizer"),
    hyperparameters=asdict(DpoSettings()),
    build=lambda setup: DpoStep(setup, DpoSettings()),
    # The policy is its ref_model still: a margin of 0 for each pair.
    first_loss=lambda cell: DPO_LOSSES[cell.dpo_loss].first(DpoSettings().beta),
    passes=_passes,
)
