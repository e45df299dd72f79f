"""The one rollout of every method: sampled, cached, of fixed length."""

__all__ = [
    "CACHES",
    "Among",
    "Asked",
    "Given",
    "cache_tensors",
    "decoding_cache",
    "layer_tensors",
    "rollout",
]

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from alignmeter.architectures.positions import decoding_positions
from alignmeter.architectures.tracing import is_tracing, standing_for
from alignmeter.training.step import Probe

_LEAST_SKIPPED = 3
CACHES = ("cache", "past_key_values", "cache_params")
"""transformers 5.24's name, and what attention and state-space models called it before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """The rest of prompts that are longer than the shortest: ``tokens`` and ``mask`` (bool), both
    [R, S]; S may be 0.
    """

    tokens: torch.Tensor
    mask: torch.Tensor

    def instead_of(self, sampled: torch.Tensor, step: int) -> torch.Tensor:
        """[R, 1]: the token of that step, where a row has one, else the ``sampled`` one."""
        if step >= self.tokens.shape[1]:
            return sampled
        at = slice(step, step + 1)
        return torch.where(self.mask[:, at], self.tokens[:, at], sampled)


@dataclass(frozen=True, kw_only=True, slots=True)
class Among:
    """Places ``rows`` of a rollout's rows among the ``count`` that several ranks sample."""

    rows: Sequence[int]
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One rollout: ``new_tokens`` tokens at temperature 1 after each of ``prompts`` [R, P].

    ``generator``: what they are drawn with. ``given``: what rows whose prompts are longer take in
    place of their first sampled tokens; ``None`` where all have one length. ``among``: whose rows
    these are, where other ranks sample the rest; all have one generator's stream.
    """

    prompts: torch.Tensor
    new_tokens: int
    generator: torch.Generator
    given: Given | None = None
    among: Among | None = None

    def of_rows(self, rows: Sequence[int]) -> "Asked":
        """The part of one rank: those rows of the prompts, drawn as they are among all."""
        given = self.given
        if given is not None:
            given = Given(tokens=given.tokens[rows], mask=given.mask[rows])
        among = Among(rows=rows, count=len(self.prompts))
        return replace(self, prompts=self.prompts[rows], given=given, among=among)

    def drawn(self, probabilities: torch.Tensor) -> torch.Tensor:
        """[R, 1]: a token of each row's ``probabilities`` [R, V].

        The generator draws for the rows of all ranks, whose streams so stay one: what one process
        samples is what its ranks sample together.
        """
        if self.among is None:
            return torch.multinomial(probabilities, 1, generator=self.generator)
        every = probabilities.new_ones(self.among.count, probabilities.shape[1])
        every[self.among.rows] = probabilities
        return torch.multinomial(every, 1, generator=self.generator)[self.among.rows]


def rollout(policy: nn.Module, asked: Asked, probe: Probe) -> torch.Tensor:
    """The prompts [R, P] followed by the sampled tokens: [R, P+N].

    Tokens given in place of sampled ones are exact for every architecture, as padding on the left
    is not. No early stop: every row gets the same number of tokens, so that shapes are those of the
    cell. Without data, tokens between the first and the last are not decoded; the cache grows as if
    they were.
    """
    ids, new_tokens = asked.prompts, asked.new_tokens
    model: Any = policy.eval()
    output = model(input_ids=ids, use_cache=True, logits_to_keep=1)
    skips = is_tracing() and new_tokens > _LEAST_SKIPPED
    step = 0
    while step < new_tokens:
        argument, cache = decoding_cache(output)
        probe.owns("rollout_cache", cache_tensors(cache))
        probabilities = output.logits[:, -1].float().softmax(-1)
        token = asked.drawn(probabilities)
        if asked.given is not None:
            token = asked.given.instead_of(token, step)
        ids = torch.cat([ids, token], dim=1)
        if step + 1 < new_tokens:
            with standing_for(new_tokens - 2 if skips and step == 0 else 1):
                output = model(
                    input_ids=token,
                    use_cache=True,
                    logits_to_keep=1,
                    **{argument: cache},
                    **decoding_positions(model, token, ids.shape[1] - 1),
                )
        step += 1
        if skips and step == 1:
            ids, step = _skipped(cache, ids, new_tokens), new_tokens - 2
    probe.uses("rollout_cache", (tensor.nbytes for tensor in cache_tensors(cache)))
    policy.train()
    return ids


def _skipped(cache: Any, ids: torch.Tensor, new_tokens: int) -> torch.Tensor:
    """Make cache and ids as long as they are when but two tokens are missing."""
    more = new_tokens - 3
    for layer in cache.layers:
        if getattr(layer, "keys", None) is not None:  # state-space models' states do not grow
            window = layer.sliding_window if getattr(layer, "is_sliding", False) else None
            layer.keys = _grown(layer.keys, more, window)
            layer.values = _grown(layer.values, more, window)
            if window is not None:
                layer.cumulative_length += more
    return _longer(ids, more, 1)


def _grown(keys: torch.Tensor, more: int, window: int | None) -> torch.Tensor:
    """Those of ``more`` tokens more; of a window W the last W - 1, in a storage of W once it is
    full: transformers' ``DynamicSlidingWindowLayer`` joins and then cuts.
    """
    if window is None or keys.shape[-2] + more < window:
        return _longer(keys, more, -2)
    return _longer(keys, window - keys.shape[-2], -2)[..., 1:, :]


def _longer(tensor: torch.Tensor, more: int, dim: int) -> torch.Tensor:
    shape = list(tensor.shape)
    shape[dim] = more
    return torch.cat([tensor, tensor.new_zeros(shape)], dim=dim)


def decoding_cache(output: Any) -> tuple[str, Any]:
    """The cache in a model's output, and the argument that takes it in the next call.

    Raises `ValueError` if the output holds none under a name that is known.
    """
    for name in CACHES:
        if name in output:
            return name, output[name]
    raise ValueError(f"no cache in the model's output {list(output)}; known names: {CACHES}")


def cache_tensors(cache: Any) -> Iterator[torch.Tensor]:
    """Every tensor that the layers of a transformers cache hold: keys, values or states."""
    for layer in cache.layers:
        yield from layer_tensors(layer)


def layer_tensors(layer: Any) -> Iterator[torch.Tensor]:
    """Those of one layer."""
    for value in vars(layer).values():
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from (item for item in value if isinstance(item, torch.Tensor))
        elif isinstance(value, dict):
            yield from (item for item in value.values() if isinstance(item, torch.Tensor))
