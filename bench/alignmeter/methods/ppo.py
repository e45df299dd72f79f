"""PPO in the InstructGPT layout: rollout, scoring by three models, clipped losses."""

__all__ = ["PPO", "PpoSettings", "PpoStep", "Rollout"]

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import nn

from alignmeter.batches import Batch
from alignmeter.losses import gae, kl_rewards, ppo_policy_loss, ppo_value_loss, whiten
from alignmeter.methods.base import Method, Outcome, Probe
from alignmeter.methods.logprobs import response_logprobs
from alignmeter.methods.rollout import rollout
from alignmeter.methods.setup import Setup

_SAMPLING_SEED = 4


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
    """What the optimisation sees of one rollout: ids [R, T], the rest [R, N] in fp32."""

    ids: torch.Tensor
    logprobs: torch.Tensor
    values: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor

    def rows(self, index: torch.Tensor) -> "Rollout":
        """A minibatch."""
        return Rollout(
            ids=self.ids[index],
            logprobs=self.logprobs[index],
            values=self.values[index],
            advantages=self.advantages[index],
            returns=self.returns[index],
        )


class PpoStep:
    """Policy, ref_model, reward and value model of one cell, each with a backbone of its own."""

    def __init__(self, setup: Setup, settings: PpoSettings) -> None:
        self.setup = setup
        self.settings = settings
        self.policy = setup.policy()
        self.ref = setup.ref()
        self.reward = setup.reward()
        self.value = setup.value()
        self.policy_optimizer = setup.optimizer(self.policy, learning_rate=settings.learning_rate)
        self.value_optimizer = setup.optimizer(
            self.value, learning_rate=settings.value_learning_rate
        )
        self._sampling = torch.Generator(setup.device).manual_seed(setup.seed + _SAMPLING_SEED)
        self._shuffling = torch.Generator().manual_seed(setup.seed + _SAMPLING_SEED)

    def models(self) -> dict[str, nn.Module]:
        """Policy, reward and value model, and the ref_model where it is resident."""
        models = {"policy": self.policy, "reward": self.reward, "value": self.value}
        return models | ({} if self.ref is None else {"ref": self.ref})

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """The policy's and the value model's."""
        return [self.policy_optimizer, self.value_optimizer]

    def _values(self, ids: torch.Tensor, prompt_len: int) -> torch.Tensor:
        # The value of a state is read at the token before the action.
        values: torch.Tensor = self.value(ids)[:, prompt_len - 1 : -1]
        return values

    def _sample(self, prompts: torch.Tensor, probe: Probe) -> torch.Tensor:
        with torch.no_grad(), self.setup.forward():
            return rollout(
                self.policy,
                prompts,
                new_tokens=self.setup.cell.seq_len - prompts.shape[1],
                architecture=self.setup.architecture,
                generator=self._sampling,
                probe=probe,
            )

    def score(self, ids: torch.Tensor, prompt_len: int) -> tuple[Rollout, torch.Tensor]:
        """Everything the optimisation needs of sampled ``ids`` [R, T], and the mean score."""
        with torch.no_grad(), self.setup.forward():
            logprobs = response_logprobs(self.policy, ids, prompt_len)
            with self.setup.as_ref(self.policy, self.ref) as ref:
                ref_logprobs = response_logprobs(ref, ids, prompt_len)
            scores = self.reward(ids)[:, -1]
            values = self._values(ids, prompt_len)
        rewards = kl_rewards(logprobs, ref_logprobs, scores, kl_coef=self.settings.kl_coef)
        advantages, returns = gae(rewards, values, gamma=self.settings.gamma, lam=self.settings.lam)
        scored = Rollout(
            ids=ids,
            logprobs=logprobs,
            values=values,
            advantages=whiten(advantages),
            returns=returns,
        )
        return scored, scores.mean()

    def _minibatches(self, rollouts: Rollout) -> Iterator[Rollout]:
        cell = self.setup.cell
        for _ in range(cell.ppo_epochs):
            if cell.ppo_minibatches == 1:
                yield rollouts
                continue
            order = torch.randperm(len(rollouts.ids), generator=self._shuffling)
            for index in order.to(rollouts.ids.device).chunk(cell.ppo_minibatches):
                yield rollouts.rows(index)

    def _policy_loss(self, part: Rollout, prompt_len: int) -> torch.Tensor:
        with self.setup.forward():
            logprobs = response_logprobs(self.policy, part.ids, prompt_len)
        return ppo_policy_loss(logprobs, part.logprobs, part.advantages, clip=self.settings.clip)

    def _value_loss(self, part: Rollout, prompt_len: int) -> torch.Tensor:
        with self.setup.forward():
            values = self._values(part.ids, prompt_len)
        loss = ppo_value_loss(values, part.values, part.returns, clip=self.settings.value_clip)
        return self.settings.value_coef * loss

    def _descend(
        self, loss: torch.Tensor, optimizers: list[torch.optim.Optimizer], probe: Probe
    ) -> None:
        with probe.phase("backward"):
            loss.backward()
        with probe.phase("optimizer"):
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

    def _optimise(self, part: Rollout, prompt_len: int, probe: Probe) -> torch.Tensor:
        if self.setup.cell.ppo_backward == "joint":
            with probe.phase("forward"):
                loss = self._policy_loss(part, prompt_len) + self._value_loss(part, prompt_len)
            self._descend(loss, self.optimizers(), probe)
            return loss.detach()
        with probe.phase("forward"):
            policy_loss = self._policy_loss(part, prompt_len)
        self._descend(policy_loss, [self.policy_optimizer], probe)
        policy_loss = policy_loss.detach()
        with probe.phase("forward"):
            value_loss = self._value_loss(part, prompt_len)
        self._descend(value_loss, [self.value_optimizer], probe)
        return policy_loss + value_loss.detach()

    def run(self, batch: Batch, probe: Probe) -> Outcome:
        """One PPO step: 2B rollouts, scoring, epochs x minibatches of optimisation."""
        cell, prompt_len = self.setup.cell, batch.prompt_len
        with probe.phase("rollout"):
            ids = self._sample(batch.prompts, probe)
        with probe.phase("scoring"):
            rollouts, score = self.score(ids, prompt_len)
        losses = [self._optimise(p, prompt_len, probe) for p in self._minibatches(rollouts)]
        return Outcome(
            loss=torch.stack(losses).mean(),
            trained_tokens=ids.numel() * cell.ppo_epochs,
            padded_tokens=0,
            generated_tokens=ids.shape[0] * (ids.shape[1] - prompt_len),
            metrics={"score": score},
        )


PPO = Method(
    name="ppo",
    phases=("rollout", "scoring", "forward", "backward", "optimizer"),
    hyperparameters=asdict(PpoSettings()),
    build=lambda setup: PpoStep(setup, PpoSettings()),
)
