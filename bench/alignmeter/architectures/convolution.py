"""The convolution of both Mambas: on this project's kernel, and what it costs."""

__all__ = ["ACTIVATIONS", "convolution", "convolution_mixing"]

from typing import Any

import torch

from alignmeter.flops import Mixing
from alignmeter_kernels.causal_conv1d import causal_conv1d

ACTIVATIONS = ("silu", "swish")
"""Names that transformers has for the activation that the kernel has."""


def convolution(
    hidden_states: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    activation: str | None = None,
    **_: Any,
) -> torch.Tensor:
    """transformers' ``causal_conv1d_fn``: [rows, D, T] through [D, K].

    Raises `ValueError` for an activation that the kernel does not have.
    """
    if activation not in (None, *ACTIVATIONS):
        raise ValueError(f"activation is {activation!r}; the kernel knows silu or none")
    return causal_conv1d(hidden_states, weight, bias, silu=activation is not None)


def convolution_mixing(channels: int, kernel: int) -> Mixing:
    """Depthwise: ``2 K`` per channel; backward the same for its input and again for its weight."""
    forward = 2 * kernel * channels
    return Mixing(forward=forward, backward=2 * forward, backward_frozen=forward)
