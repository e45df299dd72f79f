"""The one rollout of every method: sampled, cached, of fixed length."""

__all__ = ["decoding_cache", "rollout"]

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from alignmeter.methods.base import Probe

_CACHES = ("cache", "past_key_values", "cache_params")
"""transformers 5.24's name, and what attention and state-space models called it before."""


def rollout(
    policy: nn.Module,
    prompts: torch.Tensor,
    *,
    new_tokens: int,
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
        argument, cache = decoding_cache(output)
        probe.owns("rollout_cache", _cache_tensors(cache))
        probabilities = output.logits[:, -1].float().softmax(-1)
        token = torch.multinomial(probabilities, 1, generator=generator)
        ids = torch.cat([ids, token], dim=1)
        if step + 1 < new_tokens:
            output = model(
                input_ids=token,
                use_cache=True,
                logits_to_keep=1,
                **{argument: cache},
            )
    policy.train()
    return ids


def decoding_cache(output: Any) -> tuple[str, Any]:
    """The cache in a model's output, and the argument that takes it in the next call.

    Raises `ValueError` if the output holds none under a name that is known.
    """
    for name in _CACHES:
        if name in output:
            return name, output[name]
    raise ValueError(f"no cache in the model's output {list(output)}; known names: {_CACHES}")


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
