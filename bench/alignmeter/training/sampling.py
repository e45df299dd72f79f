"""Responses of a step: sampled by its rollout engine, or replayed from a reference."""

__all__ = ["Sampling"]

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from alignmeter.batches import Batch
from alignmeter.training.engines import open_engine
from alignmeter.training.setup import Setup
from alignmeter.training.step import Probe

_SEED = 4
"""Added to the replicate's seed."""


class Sampling:
    """Engine and generator of one step's rollouts, in their phase ``rollout``."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._sampler = open_engine(setup.cell.rollout).open(setup.cell)
        self._generator = torch.Generator(setup.device).manual_seed(setup.seed + _SEED)
        self._logprobs: torch.Tensor | None = None

    def prepare(self, policy: nn.Module, probe: Probe) -> None:
        """What the engine does once, before the first step."""
        rows, prompt_len = 2 * self._setup.cell.batch, self._setup.cell.prompt_len
        prompts = torch.zeros(rows, prompt_len, dtype=torch.int64, device=self._setup.device)
        with torch.no_grad(), self._setup.forward():
            self._sampler.prepare(policy, prompts, probe)

    def sample(self, policy: nn.Module, batch: Batch, probe: Probe) -> torch.Tensor:
        """The batch's prompts [R, P] with a response each: [R, T]."""
        self._logprobs = None
        if batch.rollout is None:
            with torch.no_grad():
                self._sampler.synchronise(policy, probe)
        with probe.phase("rollout"):
            if batch.rollout is not None:
                return batch.rollout
            with torch.no_grad(), self._setup.forward():
                sampled = self._sampler.sample(
                    policy,
                    batch.prompts,
                    new_tokens=self._setup.cell.seq_len - batch.prompt_len,
                    generator=self._generator,
                    probe=probe,
                )
        self._logprobs = sampled.logprobs
        return sampled.ids

    def gap(self, logprobs: torch.Tensor) -> torch.Tensor | None:
        """How far the engine's log-probs of the last rollout are from the policy's [R, N], mean.

        ``None`` where the engine is the policy, and where the tokens were replayed.
        """
        if self._logprobs is None:
            return None
        return (logprobs.detach() - self._logprobs).abs().mean()

    def held(self) -> Mapping[str, Iterable[torch.Tensor]]:
        """What the engine keeps between rollouts, by its owner in the ledger."""
        return {"rollout_cache": self._sampler.held()}
