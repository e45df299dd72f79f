"""GRPO and its variants: groups of sampled answers, each against its group's mean."""

__all__ = ["GRPO", "GrpoSettings", "GrpoStep"]

from dataclasses import asdict, dataclass

import torch
from torch import nn

from alignmeter.batches import Batch, Where
from alignmeter.cells.cell import Cell
from alignmeter.flops import Tally, responses
from alignmeter.methods.losses.group import group_advantages
from alignmeter.methods.losses.grpo import GRPO_VARIANTS, grpo_loss
from alignmeter.training.grouped import contradictions, judging, sampled
from alignmeter.training.rewards import open_reward
from alignmeter.training.sampled_step import SampledStep
from alignmeter.training.sampling import sampled_outcome
from alignmeter.training.setup import Setup
from alignmeter.training.step import Method, Outcome, Probe, descend


@dataclass(frozen=True, kw_only=True, slots=True)
class GrpoSettings:
    """The coefficient of the paper's KL term; it counts with ``kl = k3`` only."""

    learning_rate: float = 1e-5
    kl_coef: float = 0.04


class GrpoStep(SampledStep):
    """Policy and reward of one cell, and the ref_model where there is a KL term."""

    rows = "groups"

    def __init__(self, setup: Setup, settings: GrpoSettings) -> None:
        super().__init__(setup)
        self.settings = settings
        self.penalised = setup.cell.kl == "k3"
        self.ref = setup.ref() if self.penalised else None
        self.reward = open_reward(setup)
        self.variant = GRPO_VARIANTS[setup.cell.grpo_variant]
        self.train(settings.learning_rate)

    def models(self) -> dict[str, nn.Module]:
        """Policy, ref_model and reward model, where the cell has them."""
        return super().models() | self.reward.models()

    def _advantages(self, rewards: torch.Tensor) -> torch.Tensor:
        """[R] of this rank's rewards; a group may have rows on several ranks."""
        ranks, cell = self.setup.ranks, self.setup.cell
        found = group_advantages(ranks.joined(rewards), cell.group, scale=self.variant.scale)
        return ranks.own(found)

    def _ref_logprobs(self, ids: torch.Tensor, where: Where, probe: Probe) -> torch.Tensor | None:
        if not self.penalised:
            return None
        with probe.phase("ref_forward"), self.setup.as_ref(self.policy, self.ref) as ref:
            return self.logprobs(ref, ids, where)

    def run(self, batch: Batch, probe: Probe) -> Outcome:
        """One GRPO step: 2B rollouts in groups, one update.

        The policy that sampled is the one that trains, so that its log-probs are the old ones: no
        pass of their own is needed.
        """
        ids = self._sampling.sample(self.policy, batch, probe)
        own = self.setup.ranks.part(batch, self.rows)
        where = own.sampled(ids)
        with probe.phase("reward"):
            rewards = self.reward.of(ids, own)
            advantages = self._advantages(rewards)
        ref_logprobs = self._ref_logprobs(ids, where, probe)
        with probe.phase("forward"):
            with self.setup.forward():
                logprobs = self.logprobs(self.policy, ids, where)
            loss = grpo_loss(
                logprobs,
                logprobs.detach(),
                advantages,
                torch.ones_like(logprobs),
                variant=self.variant,
                ref_logprobs=ref_logprobs,
                kl_coef=self.settings.kl_coef,
            )
        loss = descend(loss, self.optimizers(), probe)
        metrics = {"logprob": logprobs.detach().mean(), "score": rewards.mean()}
        gap = self._sampling.gap(logprobs)
        outcome = sampled_outcome(loss, ids, where, metrics=metrics, logprob_gap=gap)
        return self._sampling.outcome(outcome, batch)


def _passes(cell: Cell, tally: Tally) -> None:
    sampled(cell, tally)
    judging(cell, tally)
    if cell.kl == "k3":
        tally.infer("ref_forward", responses(cell), adapted=False)
    tally.train(responses(cell))


GRPO = Method(
    name="grpo",
    phases=("rollout", "reward", "ref_forward", "forward", "backward", "optimizer"),
    rows=GrpoStep.rows,
    hyperparameters=asdict(GrpoSettings()),
    build=lambda setup: GrpoStep(setup, GrpoSettings()),
    contradictions=contradictions,
    passes=_passes,
)
