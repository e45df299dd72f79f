"""A layer of transformers' static cache that keeps what attention reads."""

__all__ = ["ComputedLayer"]

from typing import Any

import torch
from transformers.cache_utils import StaticLayer


class ComputedLayer(StaticLayer):
    """Keys in the dtype of the values, which is that of the products.

    Under autocast the rotary embedding makes keys fp32 beside values of bf16, and the layer of
    transformers (5.17 to 5.23) takes one dtype for both: its ``index_copy_`` would raise. Attention
    casts them to the values' dtype before it multiplies, so the tokens are the same, and the cache
    half as large.
    """

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As transformers': new states [R, heads, tokens, head size]; keys and values of all."""
        keys = key_states.to(value_states.dtype)
        found: tuple[torch.Tensor, torch.Tensor] = super().update(
            keys, value_states, *args, **kwargs
        )
        return found
