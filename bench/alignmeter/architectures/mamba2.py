"""Mamba-2 (https://arxiv.org/abs/2405.21060). 130m to 2.8b are the published shapes."""

__all__ = ["MAMBA2"]

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from alignmeter.architectures.base import SPECIAL_TOKENS, Architecture, Shape
from alignmeter.architectures.convolution import ACTIVATIONS, convolution, convolution_mixing
from alignmeter.architectures.operators import Operator, not_fused
from alignmeter.architectures.vendor import Vendor
from alignmeter.flops import Block, Blocks, Mixing, Product
from alignmeter_kernels import ssd_scan


def _shape(
    vocab: int,
    layers: int,
    width: int,
    *,
    state: int = 128,
    head: int = 64,
    groups: int = 1,
    chunk: int = 256,
) -> Shape:
    return {
        "vocab_size": vocab,
        "num_hidden_layers": layers,
        "hidden_size": width,
        "state_size": state,
        "expand": 2,
        "head_dim": head,
        "num_heads": 2 * width // head,
        "n_groups": groups,
        "chunk_size": chunk,
        "conv_kernel": 4,
        "tie_word_embeddings": vocab != 128256,
    }


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


def _make(shape: Shape) -> nn.Module:
    from transformers import Mamba2Config, Mamba2ForCausalLM

    config: Any = {**shape, **SPECIAL_TOKENS}
    model: nn.Module = Mamba2ForCausalLM(Mamba2Config(**config))
    return model


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


def _blocks(shape: Mapping[str, Any]) -> Blocks:
    """One input projection for gate, x, B, C and dt; the convolution runs over x, B and C."""
    width, state = shape["hidden_size"], shape["state_size"]
    inner = int(shape["expand"] * width)
    convolved = inner + 2 * shape["n_groups"] * state
    joined = inner + convolved + shape["num_heads"]
    block = Block(
        products=(
            Product(name="in_proj", inputs=width, outputs=joined, first=True),
            Product(name="out_proj", inputs=inner, outputs=width),
        ),
        mixing=convolution_mixing(convolved, shape["conv_kernel"]) + _scan_mixing(inner, state),
        state=inner * state,
    )
    return ((block, shape["num_hidden_layers"]),)


MAMBA2 = Architecture(
    name="mamba2",
    shapes={
        "tiny": _shape(512, 4, 192, state=64, head=32, chunk=32),
        "130m": _shape(50280, 24, 768),
        "370m": _shape(50280, 48, 1024),
        "1.4b": _shape(50280, 48, 2048),
        "2.8b": _shape(50280, 64, 2560),
        "8b": _shape(128256, 64, 4096, groups=8),
    },
    make=_make,
    modeling="transformers.models.mamba2.modeling_mamba2",
    checkpoints=("mamba2",),
    activations=ACTIVATIONS,
    # peft refuses out_proj and conv1d; in_proj is called as a module on every path.
    lora_targets=("in_proj",),
    # The fused CUDA path reads out_proj's weight without calling it.
    # transformers takes both packages by itself where they can be imported.
    vendor=Vendor(
        packages={"mamba_ssm": "mamba-ssm", "causal_conv1d": "causal-conv1d"},
        operators={"ssd_scan": "mamba_ssm", "causal_conv1d": "causal_conv1d"},
    ),
    nf4_skip=("out_proj", "lm_head", "score"),
    # transformers 5.17 and 5.23 both call these by name.
    operators={
        "mamba2_split_conv1d_scan_combined": Operator(
            names=("fused_block", "ssd_scan"), custom=not_fused
        ),
        "mamba2_chunk_scan": Operator(names=("ssd_scan",), custom=scan),
        "mamba2_selective_state_update": Operator(names=("state_update",)),
        "causal_conv1d_fn": Operator(names=("causal_conv1d",), custom=convolution),
        "causal_conv1d_update": Operator(names=("convolution_update",)),
    },
    blocks=_blocks,
)
