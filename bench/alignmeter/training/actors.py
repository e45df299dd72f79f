"""PPO's four models in the two layouts that the field uses."""

__all__ = ["Actors", "OneBackbone", "Scores", "open_actors"]

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import nn

from alignmeter.architectures import ScalarModel
from alignmeter.batches import Where
from alignmeter.batches.spans import at_responses, ends
from alignmeter.parallel import within
from alignmeter.registry import PEFT_MODES
from alignmeter.training.logprobs import (
    head_logprobs,
    hidden_states,
    response_logprobs,
    scored,
)
from alignmeter.training.setup import Setup


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """What the models say of R rollouts with N response tokens; without gradient.

    logprobs, ref_logprobs, values: [R, N]. scores: [R], read at the last token.
    """

    logprobs: torch.Tensor
    ref_logprobs: torch.Tensor
    values: torch.Tensor
    scores: torch.Tensor


def open_actors(setup: Setup, *, learning_rate: float, value_learning_rate: float) -> "Actors":
    """The models of the cell's ``ppo_topology``."""
    policy = setup.policy()
    rates = learning_rate, value_learning_rate
    if setup.cell.ppo_topology == "separate":
        return Actors(setup, policy, reward=setup.reward(), value=setup.value(), rates=rates)
    if PEFT_MODES[setup.cell.peft].adapters:
        reward, value = setup.reward_adapter(policy), setup.value_adapter(policy)
        return Actors(setup, policy, reward=reward, value=value, rates=rates)
    return OneBackbone(setup, policy, learning_rate)


class Actors:
    """Models that each need a forward pass of their own.

    ``separate``: four backbones (three, where ``adapter-off`` serves as ref_model).
    ``shared`` with adapters: one frozen base; policy, value and reward are adapters on it.
    """

    def __init__(
        self,
        setup: Setup,
        policy: nn.Module,
        *,
        reward: nn.Module,
        value: nn.Module,
        rates: tuple[float, float],
    ) -> None:
        """``rates``: learning rates of policy and value model."""
        self.setup, self.policy, self.ref = setup, policy, setup.ref()
        self.reward, self.value = reward, value
        setup.shard(self.models())
        theirs = {
            id(p): p
            for name, p in value.named_parameters()
            if setup.cell.ppo_topology == "separate" or ".value." in name or ".score." in name
        }
        mine = [p for p in policy.parameters() if id(p) not in theirs]
        self.policy_optimizer = setup.optimizer(mine, learning_rate=rates[0])
        self.value_optimizer = setup.optimizer(theirs.values(), learning_rate=rates[1])

    def models(self) -> dict[str, nn.Module]:
        """Policy, the ref_model where it is resident, reward and value model.

        In this order: a backbone that two of them share belongs to the first.
        """
        models = {"policy": self.policy} | ({} if self.ref is None else {"ref": self.ref})
        return models | {"reward": self.reward, "value": self.value}

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """The policy's and the value model's."""
        return [self.policy_optimizer, self.value_optimizer]

    def after_policy(self) -> list[torch.optim.Optimizer]:
        """Those that step between the two backward passes of ``sequential``."""
        return [self.policy_optimizer]

    def after_value(self) -> list[torch.optim.Optimizer]:
        """Those that step after the second."""
        return [self.value_optimizer]

    def logprobs(self, ids: torch.Tensor, where: Where) -> torch.Tensor:
        """The policy's [R, N]."""
        with self.setup.forward():
            return self._logprobs_of(self.policy, ids, where)

    def _logprobs_of(self, model: nn.Module, ids: torch.Tensor, where: Where) -> torch.Tensor:
        cell = self.setup.cell
        return response_logprobs(model, ids, where, kernels=cell.kernels, head=cell.loss_head)

    def values(self, ids: torch.Tensor, where: Where) -> torch.Tensor:
        """[R, N]: the value of a state is read at the token before the action."""
        with self.setup.forward():
            return at_responses(scored(self.value, ids, where), where, shift=-1)

    def both(self, ids: torch.Tensor, where: Where) -> tuple[torch.Tensor, torch.Tensor]:
        """`logprobs` and `values`, their graphs alive together."""
        return self.logprobs(ids, where), self.values(ids, where)

    def as_ref(self) -> AbstractContextManager[nn.Module]:
        """The ref_model, within a context without gradient."""
        return self.setup.as_ref(self.policy, self.ref)

    @torch.no_grad()
    def score(self, ids: torch.Tensor, where: Where) -> Scores:
        """All four models' word on sampled ``ids`` [R, T]."""
        logprobs = self.logprobs(ids, where)
        with self.as_ref() as ref:
            ref_logprobs = self._logprobs_of(ref, ids, where)
        with self.setup.forward():
            scores = ends(scored(self.reward, ids, where), where)
        return Scores(
            logprobs=logprobs,
            ref_logprobs=ref_logprobs,
            values=self.values(ids, where),
            scores=scores,
        )


class OneBackbone(Actors):
    """``shared`` with full fine-tuning: a value head on the policy, a reward head on the ref_model.

    One pass through a backbone serves both of its heads, and one optimizer holds the policy with
    its value head; ``sequential`` adds the value's gradients to the policy's before it steps.
    """

    def __init__(self, setup: Setup, policy: nn.Module, learning_rate: float) -> None:
        ref = setup.ref()
        if ref is None:
            raise ValueError("full fine-tuning needs a resident ref_model")
        self.setup, self.policy, self.ref = setup, policy, ref
        self.value = self._value_head = setup.value_head(policy)
        self.reward = self._reward_head = setup.reward_head(ref)
        setup.shard(self.models())
        trained = [*policy.parameters(), *self._value_head.score.parameters()]
        self.policy_optimizer = setup.optimizer(trained, learning_rate=learning_rate)

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """One for policy and value head."""
        return [self.policy_optimizer]

    def after_policy(self) -> list[torch.optim.Optimizer]:
        """None: the value's gradients come to the same weights."""
        return []

    def after_value(self) -> list[torch.optim.Optimizer]:
        """The one."""
        return [self.policy_optimizer]

    def both(self, ids: torch.Tensor, where: Where) -> tuple[torch.Tensor, torch.Tensor]:
        """Two heads on one pass."""
        with self.setup.forward():
            logprobs, values = self._heads(self.policy, self._value_head, ids, where)
        return logprobs, at_responses(values, where, shift=-1)

    def _heads(
        self, model: nn.Module, scalar: ScalarModel, ids: torch.Tensor, where: Where
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probs [R, N], and the scalar model's word [R, T]."""
        cell = self.setup.cell

        def both() -> tuple[torch.Tensor, torch.Tensor]:
            hidden = hidden_states(model, ids, where)
            logprobs = head_logprobs(
                model, hidden, ids, where, kernels=cell.kernels, head=cell.loss_head
            )
            return logprobs, scalar.score_of(hidden)

        return within(model, both)

    @torch.no_grad()
    def score(self, ids: torch.Tensor, where: Where) -> Scores:
        """Two passes for four answers."""
        logprobs, values = self.both(ids, where)
        with self.as_ref() as ref:
            ref_logprobs, scores = self._heads(ref, self._reward_head, ids, where)
        return Scores(
            logprobs=logprobs,
            ref_logprobs=ref_logprobs,
            values=values,
            scores=ends(scores, where),
        )
