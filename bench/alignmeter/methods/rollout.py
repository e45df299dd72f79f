"""The one rollout of every method: sampled, cached, of fixed length."""

__all__ = ["rollout"]

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from alignmeter.architectures import Architecture
from alignmeter.methods.base import Probe


def rollout(
    policy: nn.Module,
    prompts: torch.Tensor,
    *,
    new_tokens: int,
    architecture: Architecture,
    generator: torch.Generator,
    probe: Probe,
) -> torch.Tensor:
    """``prompts`` [R, P] followed by ``new_tokens`` tokens sampled at temperature 1: [R, P+N].

    No early stop: every row gets the same number of tokens, so that shapes are those of the cell.
    """
    ids = prompts
    model: Any = policy.eval()
    output = model(input_ids=prompts, use_cache=True, logits_to_keep=1)
    for step in range(new_tokens):
        cache = architecture.cache_of(output)
        probe.owns("rollout_cache", _cache_tensors(cache))
        probabilities = output.logits[:, -1].float().softmax(-1)
        token = torch.multinomial(probabilities, 1, generator=generator)
        ids = torch.cat([ids, token], dim=1)
        if step + 1 < new_tokens:
            output = model(
                input_ids=token,
                use_cache=True,
                logits_to_keep=1,
                **{architecture.cache_argument: cache},
            )
    policy.train()
    return ids


def _cache_tensors(cache: Any) -> Iterator[torch.Tensor]:
    """Every tensor that the layers of a transformers cache hold: keys, values or states."""
    for layer in cache.layers:
        for value in vars(layer).values():
            if isinstance(value, torch.Tensor):
                yield value
            elif isinstance(value, (list, tuple)):
                yield from (item for item in value if isinstance(item, torch.Tensor))
            elif isinstance(value, dict):
                yield from (item for item in value.values() if isinstance(item, torch.Tensor))
