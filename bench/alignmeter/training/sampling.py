"""Responses of a step: sampled by its policy, or replayed from a reference."""

__all__ = ["Sampling", "sampled_outcome"]

from collections.abc import Mapping

import torch
from torch import nn

from alignmeter.batches import Batch, Where
from alignmeter.training.rollout import Given, rollout
from alignmeter.training.setup import Setup
from alignmeter.training.step import Outcome, Probe

_SEED = 4
"""Added to the replicate's seed."""


class Sampling:
    """The generator of one step's rollouts, in their phase ``rollout``."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._generator = torch.Generator(setup.device).manual_seed(setup.seed + _SEED)

    def sample(self, policy: nn.Module, batch: Batch, probe: Probe) -> torch.Tensor:
        """The batch's prompts with a response of T-P tokens each: [R, L]."""
        cell = self._setup.cell
        with probe.phase("rollout"):
            if batch.rollout is not None:
                return batch.rollout
            with torch.no_grad(), self._setup.forward():
                return rollout(
                    policy,
                    batch.prompts,
                    new_tokens=cell.seq_len - cell.prompt_len + _spread(batch),
                    generator=self._generator,
                    probe=probe,
                    given=_given(batch),
                )


def sampled_outcome(
    loss: torch.Tensor,
    ids: torch.Tensor,
    where: Where,
    *,
    metrics: Mapping[str, torch.Tensor] | None = None,
    passes: int = 1,
) -> Outcome:
    """What a step on rollouts ``ids`` [R, L] did, which it trained on ``passes`` times."""
    rows, length = ids.shape
    if isinstance(where, int):
        real, new, padded = ids.numel(), rows * (length - where), 0
    else:
        real, new = sum(where.lengths), rows * where.width
        padded = 0 if where.packed is not None else ids.numel() - real
    return Outcome(
        loss=loss,
        trained_tokens=real * passes,
        padded_tokens=padded * passes,
        generated_tokens=new,
        metrics=metrics or {},
        rollout=ids,
    )


def _spread(batch: Batch) -> int:
    """Tokens of the longest prompt beyond the shortest."""
    return 0 if batch.spans is None else max(batch.spans.prompts) - batch.prompt_len


def _given(batch: Batch) -> Given | None:
    """What prompts have beyond the shortest one, where lengths differ."""
    if batch.spans is None:
        return None
    shortest, spread = batch.prompt_len, _spread(batch)
    places = torch.arange(shortest, shortest + spread, device=batch.ids.device)
    return Given(
        tokens=batch.ids[:, shortest : shortest + spread],
        mask=places < batch.spans.starts.unsqueeze(1),
    )
