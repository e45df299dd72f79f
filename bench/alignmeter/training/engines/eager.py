"""The policy called token by token, on a cache that grows: every model runs so everywhere."""

__all__ = ["EAGER", "EagerSampler"]

import torch
from torch import nn

from alignmeter.training.engines.base import RolloutEngine, Sampled, Sampler
from alignmeter.training.rollout import Given, rollout
from alignmeter.training.step import Probe


class EagerSampler(Sampler):
    """The plain loop of `training.rollout`."""

    def sample(
        self,
        policy: nn.Module,
        prompts: torch.Tensor,
        *,
        new_tokens: int,
        generator: torch.Generator,
        probe: Probe,
        given: Given | None = None,
    ) -> Sampled:
        """As the protocol's."""
        ids = rollout(
            policy, prompts, new_tokens=new_tokens, generator=generator, probe=probe, given=given
        )
        return Sampled(ids=ids)


EAGER = RolloutEngine(name="eager", ragged=True, open=lambda _: EagerSampler())
