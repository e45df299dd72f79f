"""The policy called token by token, on a cache that grows: every model runs so everywhere."""

__all__ = ["EAGER", "EagerSampler"]

from torch import nn

from alignmeter.training.engines.base import RolloutEngine, Sampled, Sampler
from alignmeter.training.rollout import Asked, rollout
from alignmeter.training.step import Probe


class EagerSampler(Sampler):
    """The plain loop of `training.rollout`."""

    def sample(self, policy: nn.Module, asked: Asked, probe: Probe) -> Sampled:
        """As the protocol's."""
        return Sampled(ids=rollout(policy, asked, probe))


EAGER = RolloutEngine(name="eager", ragged=True, open=lambda _: EagerSampler())
