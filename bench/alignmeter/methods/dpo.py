"""DPO: two forwards over chosen and rejected answers, one backward."""

__all__ = ["DPO", "DpoSettings", "DpoStep"]

import math
from dataclasses import asdict, dataclass

import torch
from torch import nn

from alignmeter.batches import Batch, BatchSource
from alignmeter.cells.cell import Cell
from alignmeter.flops import Tally, responses
from alignmeter.methods.losses import dpo_loss
from alignmeter.training.logprobs import response_logprobs
from alignmeter.training.setup import Setup
from alignmeter.training.step import Method, Outcome, Probe, TrainingStep, descend


@dataclass(frozen=True, kw_only=True, slots=True)
class DpoSettings:
    """beta of the paper's experiments; a learning rate that no architecture diverges at."""

    learning_rate: float = 1e-5
    beta: float = 0.1


class DpoStep(TrainingStep):
    """Policy and ref_model of one cell."""

    def __init__(self, setup: Setup, settings: DpoSettings) -> None:
        self.setup = setup
        self.settings = settings
        self.policy = setup.policy()
        self.ref = setup.ref()
        self.optimizer = setup.optimizer(
            self.policy.parameters(), learning_rate=settings.learning_rate
        )
        self._precomputed: torch.Tensor | None = None

    def models(self) -> dict[str, nn.Module]:
        """Policy, and the ref_model where it is resident."""
        return {"policy": self.policy} | ({} if self.ref is None else {"ref": self.ref})

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """One."""
        return [self.optimizer]

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
                found = self._response_sums(self.policy, batch)
            sums[:, list(batch.pairs)] = found.view(2, -1)
        self._precomputed = sums

    def _response_sums(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        logprobs = response_logprobs(
            model, batch.ids, batch.prompt_len, kernels=self.setup.cell.kernels
        )
        return (logprobs * batch.response_mask).sum(1)

    def _ref_sums(self, batch: Batch, probe: Probe) -> torch.Tensor:
        if self._precomputed is not None:
            return self._precomputed[:, list(batch.pairs)].flatten()
        with probe.phase("ref_forward"), self.setup.as_ref(self.policy, self.ref) as ref:
            return self._response_sums(ref, batch)

    def run(self, batch: Batch, probe: Probe) -> Outcome:
        """One DPO step on 2B rows."""
        ref_sums = self._ref_sums(batch, probe)
        with probe.phase("forward"):
            with self.setup.forward():
                sums = self._response_sums(self.policy, batch)
            loss, accuracy = dpo_loss(sums, ref_sums, beta=self.settings.beta)
        return Outcome(
            loss=descend(loss, self.optimizers(), probe),
            trained_tokens=batch.real_tokens,
            padded_tokens=batch.padded_tokens,
            metrics={"logprob": sums.detach().sum() / batch.response_mask.sum()},
            accuracy=accuracy,
        )


def _passes(cell: Cell, tally: Tally) -> None:
    if cell.ref != "precomputed":
        tally.infer("ref_forward", responses(cell), adapted=False)
    tally.train(responses(cell))


DPO = Method(
    name="dpo",
    phases=("ref_forward", "forward", "backward", "optimizer"),
    hyperparameters=asdict(DpoSettings()),
    build=lambda setup: DpoStep(setup, DpoSettings()),
    first_loss=math.log(2.0),  # the policy is its ref_model still: a margin of 0 for each pair
    passes=_passes,
)
