"""The same loop on a cache of fixed size: every decoding step has the shapes of the one before."""

__all__ = ["STATIC", "StaticSampler", "aligned", "attention_misfit", "static_cache"]

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from alignmeter.architectures.tracing import is_tracing, standing_for
from alignmeter.cells.cell import Cell
from alignmeter.errors import CellError
from alignmeter.registry import ARCHITECTURES
from alignmeter.training.engines.base import RolloutEngine, Sampled, Sampler
from alignmeter.training.rollout import CACHES, Asked, cache_tensors, layer_tensors
from alignmeter.training.step import Probe

_ALIGNED = 8
"""Positions of a cache are a multiple of it: torch's memory-efficient attention copies a mask whose
rows are not (``preprocess_mask``, aten/src/ATen/native/transformers/attention.cpp)."""
_TRACED = 2
"""Tokens sampled without data: one after the prompt's pass and one after a decoding step. All
others have the shapes of the second."""


def attention_misfit(cell: Cell) -> str | None:
    """Why attention cannot read such a cache in this cell, in words."""
    if cell.kernels == "vendor" and _attends(cell):
        return (
            f"flash-attn takes no mask over the unused part of rollout = {cell.rollout}'s cache; "
            "use kernels = custom or stock, or rollout = eager"
        )
    return None


def _attends(cell: Cell) -> bool:
    row = ARCHITECTURES.get(cell.architecture)
    return row is not None and row.attends


def aligned(positions: int) -> int:
    """That many, or as many more as rows of a mask want."""
    return -(-positions // _ALIGNED) * _ALIGNED


class StaticSampler(Sampler):
    """transformers' ``StaticCache``, made anew for each rollout: room for the keys and values of
    all tokens, or a Mamba's states, which never grow.

    A prompt's pass attends to the prompt alone. A decoding step attends to all positions, those to
    come masked out, so it computes more than `rollout.rollout`'s; its tokens are the same but where
    rounding decides between two (``tests/bench/training/test_engines.py``).
    """

    def __init__(self, cell: Cell) -> None:
        self._positions = aligned(cell.seq_len - 1)  # nobody reads the last token
        self._attends = _attends(cell)

    def prepare(self, policy: nn.Module, prompts: torch.Tensor, probe: Probe) -> None:
        """A first pass: transformers marks the tensors of such a cache for torch's compiler, and
        imports that where it does, seconds that belong to no step.
        """
        policy.eval()
        policy(input_ids=prompts, **self._given(policy))
        policy.train()

    def sample(self, policy: nn.Module, asked: Asked, probe: Probe) -> Sampled:
        """As the protocol's."""
        prompts, new_tokens = asked.prompts, asked.new_tokens
        rows, prompt_len = prompts.shape
        ids = prompts.new_empty(rows, prompt_len + new_tokens)
        ids[:, :prompt_len] = prompts
        policy.eval()
        options = self._given(policy)
        cache = options[_argument(policy)]
        output = policy(input_ids=prompts, **options)
        probe.owns("rollout_cache", cache_tensors(cache))
        traced = min(new_tokens, _TRACED) if is_tracing() else new_tokens
        for step in range(traced):
            probabilities = output.logits[:, -1].float().softmax(-1)
            token = asked.drawn(probabilities)
            ids[:, prompt_len + step] = token[:, 0]
            if step + 1 < new_tokens:
                with standing_for(max(1, new_tokens - traced) if step == 0 else 1):
                    output = self._decoded(policy, token, options, prompt_len + step, probe)
        policy.train()
        probe.uses("rollout_cache", _used(cache, prompt_len + new_tokens - 1))
        return Sampled(ids=ids)

    def _given(self, policy: nn.Module) -> dict[str, Any]:
        """What every call of a rollout is given, an empty cache among it."""
        return {_argument(policy): self._cache(policy), "use_cache": True, "logits_to_keep": 1}

    def _cache(self, policy: nn.Module) -> Any:
        """An empty one."""
        return static_cache(policy, self._positions)

    def _decoded(
        self,
        policy: nn.Module,
        token: torch.Tensor,
        given: dict[str, Any],
        position: int,
        probe: Probe,
    ) -> Any:
        """The pass over one token [R, 1], which is the ``position``-th of its row."""
        if self._attends:
            seen = torch.arange(self._positions, device=token.device) <= position
            given = given | {
                "attention_mask": seen[None, None, None],
                "position_ids": token.new_full((1, 1), position),
            }
        return self._called(policy, {"input_ids": token, **given}, probe)

    def _called(self, policy: nn.Module, arguments: dict[str, Any], probe: Probe) -> Any:
        """What computes a decoding step."""
        return policy(**arguments)


def static_cache(policy: nn.Module, positions: int) -> Any:
    """transformers' cache with room for so many tokens, or for the states of a state-space layer.

    Raises `CellError` for attention over a window, of which it keeps fewer.
    """
    from transformers import StaticCache
    from transformers.cache_utils import StaticLayer

    from alignmeter.training.engines.cache_layer import ComputedLayer

    model: Any = policy
    cache = StaticCache(config=model.config, max_cache_len=positions)
    for number, layer in enumerate(cache.layers):
        if type(layer) is StaticLayer:
            cache.layers[number] = ComputedLayer(positions)
        kept = getattr(layer, "max_cache_len", positions)
        if kept < positions:
            raise CellError(
                "unsupported",
                "impossible",
                f"the model attends to the last {kept} tokens of {positions}, which a cache of "
                "fixed size does not keep in order; use rollout = eager",
            )
    return cache


def _argument(policy: nn.Module) -> str:
    """What the model calls the cache that it is given."""
    taken = inspect.signature(policy.forward).parameters
    return next(name for name in CACHES if name in taken)


def _used(cache: Any, tokens: int) -> Iterator[int]:
    """Bytes that hold something when ``tokens`` tokens were read.

    Keys and values have a place for each token; a state-space model's states are always in use.
    """
    for layer in cache.layers:
        per_token = [id(getattr(layer, name, None)) for name in ("keys", "values")]
        for tensor in layer_tensors(layer):
            if id(tensor) in per_token:
                yield tensor.nbytes * tokens // tensor.shape[-2]
            else:
                yield tensor.nbytes


STATIC = RolloutEngine(name="static", open=StaticSampler, misfit=attention_misfit)
