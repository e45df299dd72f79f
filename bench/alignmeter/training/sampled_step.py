"""Steps of one policy that learns from its own samples: what GRPO, RLOO and distillation share."""

__all__ = ["SampledStep"]

from collections.abc import Iterable, Mapping

import torch

from alignmeter.batches import BatchSource
from alignmeter.training.policy_step import PolicyStep
from alignmeter.training.sampling import Sampling
from alignmeter.training.setup import Setup
from alignmeter.training.step import Probe


class SampledStep(PolicyStep):
    """The policy, and what samples its responses."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._sampling = Sampling(setup, self.rows)

    def prepare(self, _: BatchSource, probe: Probe) -> None:
        """The rollout engine's part."""
        self._sampling.prepare(self.policy, probe)

    def held(self) -> Mapping[str, Iterable[torch.Tensor]]:
        """What the rollout engine keeps."""
        return self._sampling.held()
