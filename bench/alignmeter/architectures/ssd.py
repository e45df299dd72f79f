"""Mamba-2's mixer (https://arxiv.org/abs/2405.21060): on this project's kernels, and its costs.

Families that have such mixers call their functions by the same names in transformers 5.17 to 5.23.
"""

__all__ = ["MAMBA_PACKAGES", "SSD_OPERATORS", "SSD_VENDOR_OPERATORS", "scan", "ssd_mixer"]

import math
from typing import Any

import torch

from alignmeter.architectures.convolution import convolution, convolution_mixing
from alignmeter.architectures.operators import Operator, not_fused
from alignmeter.flops import Block, Mixing, Product
from alignmeter_kernels.ssd_scan import ssd_scan

MAMBA_PACKAGES = {"mamba_ssm": "mamba-ssm", "causal_conv1d": "causal-conv1d"}
"""transformers takes both by itself where they can be imported."""
SSD_VENDOR_OPERATORS = {"ssd_scan": "mamba_ssm", "causal_conv1d": "causal_conv1d"}


def scan(
    hidden_states: torch.Tensor,
    dt: torch.Tensor,
    A: torch.Tensor,  # noqa: N803 - transformers' names
    B: torch.Tensor,  # noqa: N803
    C: torch.Tensor,  # noqa: N803
    *,
    D: torch.Tensor | None = None,  # noqa: N803
    dt_bias: torch.Tensor | None = None,
    initial_states: torch.Tensor | None = None,
    dt_softplus: bool = False,
    dt_limit: tuple[float, float] = (0.0, math.inf),
    return_final_states: bool = False,
    **_: Any,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """transformers' ``mamba2_chunk_scan`` on this project's kernel, which picks its own chunks."""
    low, high = dt_limit
    y, last = ssd_scan(
        hidden_states, dt, A, B, C, D, dt_bias,
        dt_softplus=dt_softplus, dt_limit=(low, high), initial_state=initial_states,
    )  # fmt: skip
    return (y, last) if return_final_states else y


SSD_OPERATORS = {
    "mamba2_split_conv1d_scan_combined": Operator(
        names=("fused_block", "ssd_scan"), custom=not_fused
    ),
    "mamba2_chunk_scan": Operator(names=("ssd_scan",), custom=scan),
    "mamba2_selective_state_update": Operator(names=("state_update",)),
    "causal_conv1d_fn": Operator(names=("causal_conv1d",), custom=convolution),
    "causal_conv1d_update": Operator(names=("convolution_update",)),
}


def ssd_mixer(width: int, inner: int, *, heads: int, groups: int, state: int, kernel: int) -> Block:
    """One input projection for gate, x, B, C and dt; the convolution runs over x, B and C."""
    convolved = inner + 2 * groups * state
    return Block(
        products=(
            Product(name="in_proj", inputs=width, outputs=inner + convolved + heads, first=True),
            Product(name="out_proj", inputs=inner, outputs=width),
        ),
        mixing=convolution_mixing(convolved, kernel) + _scan_mixing(inner, state),
        state=inner * state,
    )


def _scan_mixing(channels: int, state: int) -> Mixing:
    """Mamba-2's recurrence, https://arxiv.org/abs/2405.21060, section 3, per channel and state.

    ``h_t = a_t h_{t-1} + (dt_t x_t) B_t`` with one ``a_t = exp(dt_t A)`` for a whole head, whose
    own cost is therefore left out; ``y_t = sum_n C_t h_t``.

    Forward 5: ``a h`` 1, ``(dt x) B`` 1, their sum 1, ``C h`` 1, its sum 1.

    Backward 11, with g the gradient of h: ``g += C dy`` 2, ``dC += h dy`` 2, ``dB += g (dt x)`` 2,
    ``d(dt x) += g B`` 2, ``da += g h`` 2, ``g a`` for the step before 1. A's gradient is one number
    a head, so it makes no difference whether A trains.

    These are the recurrence's own; working in chunks does more, on faster units.
    """
    states = channels * state
    return Mixing(forward=5 * states, backward=11 * states, backward_frozen=11 * states)
