"""RLOO: sampled answers of a group against the mean of the others, the KL penalty in the reward."""

__all__ = ["RLOO", "RlooSettings", "RlooStep"]

from dataclasses import asdict, dataclass

import torch
from torch import nn

from alignmeter.batches import Batch, Where
from alignmeter.cells.cell import Cell
from alignmeter.flops import Tally, responses
from alignmeter.methods.losses.group import leave_one_out
from alignmeter.methods.losses.rloo import rloo_loss
from alignmeter.training.grouped import contradictions, judging, sampled
from alignmeter.training.rewards import open_reward
from alignmeter.training.sampled_step import SampledStep
from alignmeter.training.sampling import sampled_outcome
from alignmeter.training.setup import Setup
from alignmeter.training.step import Method, Outcome, Probe, descend


@dataclass(frozen=True, kw_only=True, slots=True)
class RlooSettings:
    """TRL 1.16's defaults: a beta of 0.05, and a clip that the paper has not."""

    learning_rate: float = 1e-5
    kl_coef: float = 0.05
    clip: float = 0.2


class RlooStep(SampledStep):
    """Policy, ref_model and reward of one cell."""

    rows = "groups"

    def __init__(self, setup: Setup, settings: RlooSettings) -> None:
        super().__init__(setup)
        self.settings = settings
        self.ref = setup.ref()
        self.reward = open_reward(setup)
        self.train(settings.learning_rate)

    def models(self) -> dict[str, nn.Module]:
        """Policy, ref_model and reward model, where the cell has them."""
        return super().models() | self.reward.models()

    @torch.no_grad()
    def _scored(self, ids: torch.Tensor, where: Where) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probs [R, N] of the policy, and what they are above the ref_model's in sum [R]."""
        with self.setup.forward():
            old = self.logprobs(self.policy, ids, where)
        with self.setup.as_ref(self.policy, self.ref) as ref:
            apart = (old - self.logprobs(ref, ids, where)).sum(1)
        return old, apart

    def run(self, batch: Batch, probe: Probe) -> Outcome:
        """One RLOO step: 2B rollouts in groups, scoring, one update."""
        ids = self._sampling.sample(self.policy, batch, probe)
        own = self.setup.ranks.part(batch, self.rows)
        where = own.sampled(ids)
        with probe.phase("reward"):
            scores = self.reward.of(ids, own)
        with probe.phase("scoring"):
            old, apart = self._scored(ids, where)
            rewards = scores - self.settings.kl_coef * apart
            ranks = self.setup.ranks  # a group may have rows on several of them
            advantages = ranks.own(leave_one_out(ranks.joined(rewards), self.setup.cell.group))
        with probe.phase("forward"):
            with self.setup.forward():
                logprobs = self.logprobs(self.policy, ids, where)
            mask = torch.ones_like(logprobs)
            loss = rloo_loss(logprobs, old, advantages, mask, clip=self.settings.clip)
        loss = descend(loss, self.optimizers(), probe)
        metrics = {"logprob": old.mean(), "score": scores.mean()}
        gap = self._sampling.gap(old)
        outcome = sampled_outcome(loss, ids, where, metrics=metrics, logprob_gap=gap)
        return self._sampling.outcome(outcome, batch)


def _passes(cell: Cell, tally: Tally) -> None:
    sampled(cell, tally)
    judging(cell, tally)
    tally.infer("scoring", responses(cell), adapted=True)
    tally.infer("scoring", responses(cell), adapted=False)  # ref
    tally.train(responses(cell))


RLOO = Method(
    name="rloo",
    phases=("rollout", "reward", "scoring", "forward", "backward", "optimizer"),
    rows=RlooStep.rows,
    hyperparameters=asdict(RlooSettings()),
    build=lambda setup: RlooStep(setup, RlooSettings()),
    contradictions=contradictions,
    passes=_passes,
)
