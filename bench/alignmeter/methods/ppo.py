"""PPO: rollout, scoring by policy, ref, reward and value model, clipped losses."""

__all__ = ["PPO", "PpoSettings", "PpoStep", "Rollout"]

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass

import torch
from torch import nn

from alignmeter.architectures.tracing import is_tracing
from alignmeter.batches import Batch, BatchSource, Where
from alignmeter.cells.cell import Cell
from alignmeter.flops import Tally, logit_tokens, responses, sequences
from alignmeter.methods.losses import gae, kl_rewards, ppo_policy_loss, ppo_value_loss, whiten
from alignmeter.registry import PEFT_MODES
from alignmeter.training.actors import open_actors
from alignmeter.training.grouped import fresh_tokens, sampled
from alignmeter.training.sampling import Sampling, sampled_outcome
from alignmeter.training.setup import Setup
from alignmeter.training.step import Method, Outcome, Probe, TrainingStep, descend

_SHUFFLING_SEED = 4
"""Added to the replicate's seed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PpoSettings:
    """Clips of the PPO paper, GAE of InstructGPT-style recipes (gamma 1, lambda 0.95)."""

    learning_rate: float = 1e-5
    value_learning_rate: float = 1e-5
    kl_coef: float = 0.05
    clip: float = 0.2
    value_clip: float = 0.2
    value_coef: float = 0.1
    gamma: float = 1.0
    lam: float = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollout:
    """What the optimisation sees of one rollout: ids [R, L], where the responses lie, and the rest
    [R, N] in fp32.
    """

    ids: torch.Tensor
    where: Where
    logprobs: torch.Tensor
    values: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor

    def rows(self, index: torch.Tensor) -> "Rollout":
        """A minibatch; ``index`` is on the host."""
        where = self.where
        if not isinstance(where, int):
            numbers = range(len(index)) if is_tracing() else index.tolist()
            where = where.rows(numbers, row_len=self.ids.shape[1])
        index = index.to(self.ids.device)
        return Rollout(
            ids=self.ids[index],
            where=where,
            logprobs=self.logprobs[index],
            values=self.values[index],
            advantages=self.advantages[index],
            returns=self.returns[index],
        )


class PpoStep(TrainingStep):
    """One cell's actors and the steps they take together."""

    def __init__(self, setup: Setup, settings: PpoSettings) -> None:
        self.setup = setup
        self.settings = settings
        self.actors = open_actors(
            setup,
            learning_rate=settings.learning_rate,
            value_learning_rate=settings.value_learning_rate,
        )
        self._sampling = Sampling(setup, self.rows)
        self._shuffling = torch.Generator().manual_seed(setup.seed + _SHUFFLING_SEED)

    def models(self) -> dict[str, nn.Module]:
        """Policy, reward and value model, and the ref_model where it is resident."""
        return self.actors.models()

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """The policy's and the value model's, or the one that they share."""
        return self.actors.optimizers()

    def prepare(self, _: BatchSource, probe: Probe) -> None:
        """The rollout engine's part."""
        self._sampling.prepare(self.actors.policy, probe)

    def held(self) -> Mapping[str, Iterable[torch.Tensor]]:
        """What the rollout engine keeps."""
        return self._sampling.held()

    def score(self, ids: torch.Tensor, where: Where) -> tuple[Rollout, dict[str, torch.Tensor]]:
        """Everything the optimisation needs of sampled ``ids`` [R, T], and means for the record."""
        found, ranks = self.actors.score(ids, where), self.setup.ranks
        rewards = kl_rewards(
            found.logprobs, found.ref_logprobs, found.scores, kl_coef=self.settings.kl_coef
        )
        advantages, returns = gae(
            rewards, found.values, gamma=self.settings.gamma, lam=self.settings.lam
        )
        scored = Rollout(
            ids=ids,
            where=where,
            logprobs=found.logprobs,
            values=found.values,
            advantages=ranks.own(whiten(ranks.joined(advantages))),
            returns=returns,
        )
        return scored, {
            "logprob": found.logprobs.mean(),
            "score": found.scores.mean(),
            "value": found.values.mean(),
        }

    def _minibatches(self, rollouts: Rollout) -> Iterator[Rollout]:
        cell = self.setup.cell
        for _ in range(cell.ppo_epochs):
            if cell.ppo_minibatches == 1:
                yield rollouts
                continue
            order = torch.randperm(len(rollouts.ids), generator=self._shuffling)
            for index in order.chunk(cell.ppo_minibatches):
                yield rollouts.rows(index)

    def _policy_loss(self, logprobs: torch.Tensor, part: Rollout) -> torch.Tensor:
        return ppo_policy_loss(logprobs, part.logprobs, part.advantages, clip=self.settings.clip)

    def _value_loss(self, values: torch.Tensor, part: Rollout) -> torch.Tensor:
        loss = ppo_value_loss(values, part.values, part.returns, clip=self.settings.value_clip)
        return self.settings.value_coef * loss

    def _joint(self, part: Rollout, probe: Probe) -> torch.Tensor:
        with probe.phase("forward"):
            logprobs, values = self.actors.both(part.ids, part.where)
            loss = self._policy_loss(logprobs, part) + self._value_loss(values, part)
        return descend(loss, self.actors.optimizers(), probe)

    def _sequential(self, part: Rollout, probe: Probe) -> torch.Tensor:
        with probe.phase("forward"):
            policy_loss = self._policy_loss(self.actors.logprobs(part.ids, part.where), part)
        policy_loss = descend(policy_loss, self.actors.after_policy(), probe)
        with probe.phase("forward"):
            value_loss = self._value_loss(self.actors.values(part.ids, part.where), part)
        return policy_loss + descend(value_loss, self.actors.after_value(), probe)

    def run(self, batch: Batch, probe: Probe) -> Outcome:
        """One PPO step: 2B rollouts, scoring, epochs x minibatches of optimisation."""
        cell = self.setup.cell
        ids = self._sampling.sample(self.actors.policy, batch, probe)
        where = self.setup.ranks.part(batch, self.rows).sampled(ids)
        with probe.phase("scoring"):
            rollouts, metrics = self.score(ids, where)
        optimise = self._joint if cell.ppo_backward == "joint" else self._sequential
        losses = [optimise(part, probe) for part in self._minibatches(rollouts)]
        loss, gap = torch.stack(losses).mean(), self._sampling.gap(rollouts.logprobs)
        outcome = sampled_outcome(
            loss, ids, where, metrics=metrics, passes=cell.ppo_epochs, logprob_gap=gap
        )
        return self._sampling.outcome(outcome, batch)


def _contradictions(cell: Cell) -> Iterator[str]:
    yield from fresh_tokens(cell)
    if cell.ppo_minibatches > 2 * cell.batch:
        yield f"{cell.ppo_minibatches} minibatches want more than the {2 * cell.batch} rollouts"
    if cell.ppo_minibatches > 1 and cell.world_size > 1:
        yield "minibatches of each device's own rows would be others than one device's; use 1"


def _passes(cell: Cell, tally: Tally) -> None:
    """Minibatches share out the rows of a pass and change no sum of FLOPs."""
    rows, length = 2 * cell.batch, cell.seq_len
    sampled(cell, tally)
    policy, scalar = responses(cell), sequences(rows, length, scored=True)
    both = sequences(rows, length, logits=logit_tokens(cell), scored=True)
    shared = cell.ppo_topology == "shared"
    one_backbone = shared and not PEFT_MODES[cell.peft].adapters
    if one_backbone:
        tally.infer("scoring", both, adapted=False)
        tally.infer("scoring", both, adapted=False)
    else:
        tally.infer("scoring", policy, adapted=True)
        tally.infer("scoring", policy, adapted=False)  # ref
        tally.infer("scoring", scalar, adapted=shared)  # reward
        tally.infer("scoring", scalar, adapted=True)  # value
    epochs, parts = cell.ppo_epochs, len(range(0, rows, -(-rows // cell.ppo_minibatches)))
    if one_backbone and cell.ppo_backward == "joint":
        tally.train(both, epochs, parts=parts)
    else:
        tally.train(policy, epochs, parts=parts)
        tally.train(scalar, epochs, parts=parts, steps=not one_backbone)


PPO = Method(
    name="ppo",
    phases=("rollout", "scoring", "forward", "backward", "optimizer"),
    hyperparameters=asdict(PpoSettings()),
    build=lambda setup: PpoStep(setup, PpoSettings()),
    contradictions=_contradictions,
    passes=_passes,
)
