"""Responses of a step: sampled by its policy, or replayed from a reference."""

__all__ = ["Sampling"]

import torch
from torch import nn

from alignmeter.batches import Batch
from alignmeter.training.rollout import rollout
from alignmeter.training.setup import Setup
from alignmeter.training.step import Probe

_SEED = 4
"""Added to the replicate's seed."""


class Sampling:
    """The generator of one step's rollouts, in their phase ``rollout``."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._generator = torch.Generator(setup.device).manual_seed(setup.seed + _SEED)

    def sample(self, policy: nn.Module, batch: Batch, probe: Probe) -> torch.Tensor:
        """The batch's prompts [R, P] with a response each: [R, T]."""
        with probe.phase("rollout"):
            if batch.rollout is not None:
                return batch.rollout
            with torch.no_grad(), self._setup.forward():
                return rollout(
                    policy,
                    batch.prompts,
                    new_tokens=self._setup.cell.seq_len - batch.prompt_len,
                    generator=self._generator,
                    probe=probe,
                )
