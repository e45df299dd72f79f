"""Mamba (Mamba-1, https://arxiv.org/abs/2312.00752). 130m to 2.8b are the published shapes."""

__all__ = ["MAMBA"]

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from alignmeter.architectures.base import SPECIAL_TOKENS, Architecture, Shape
from alignmeter.architectures.convolution import ACTIVATIONS, convolution, convolution_mixing
from alignmeter.architectures.operators import Operator, not_fused
from alignmeter.architectures.vendor import Vendor
from alignmeter.flops import Block, Blocks, Mixing, Product
from alignmeter_kernels.selective_scan import selective_scan


def _shape(vocab: int, layers: int, width: int) -> Shape:
    return {
        "vocab_size": vocab,
        "num_hidden_layers": layers,
        "hidden_size": width,
        "state_size": 16,
        "expand": 2,
        "conv_kernel": 4,
        "time_step_rank": -(-width // 16),
        "tie_word_embeddings": vocab != 128256,
    }


def scan(
    u: torch.Tensor,
    delta: torch.Tensor,
    A: torch.Tensor,  # noqa: N803 - transformers' names
    B: torch.Tensor,  # noqa: N803
    C: torch.Tensor,  # noqa: N803
    D: torch.Tensor | None = None,  # noqa: N803
    z: torch.Tensor | None = None,
    delta_bias: torch.Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
    **_: Any,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """transformers' ``mamba_selective_scan`` on this project's kernel."""
    y, last = selective_scan(u, delta, A, B, C, D, z, delta_bias, delta_softplus=delta_softplus)
    return (y, last) if return_last_state else y


def _make(shape: Shape) -> nn.Module:
    from transformers import MambaConfig, MambaForCausalLM

    config: Any = {**shape, **SPECIAL_TOKENS}
    model: nn.Module = MambaForCausalLM(MambaConfig(**config))
    return model


def _scan_mixing(channels: int, state: int) -> Mixing:
    """Mamba's recurrence, https://arxiv.org/abs/2312.00752, algorithm 2, per channel and state.

    ``a_t = exp(dt_t A)``, ``h_t = a_t h_{t-1} + (dt_t u_t) B_t``, ``y_t = sum_n C_t h_t``.

    Forward 7: ``dt A`` 1, exp 1, ``a h`` 1, ``(dt u) B`` 1, their sum 1, ``C h`` 1, its sum 1.

    Backward 15, with g the gradient of h: ``g += C dy`` 2, ``dC += h dy`` 2, ``dB += g (dt u)`` 2,
    ``d(dt u) += g B`` 2, ``da = g h`` 1, ``g a`` for the step before 1, ``da a`` through exp 1,
    ``ddt += A`` times that 2, ``dA += dt`` times that 2. With A frozen 13.

    An exponential counts as one. These are the recurrence's own; a parallel scan does more (its
    authors say 9 forward, https://github.com/state-spaces/mamba/issues/110).
    """
    states = channels * state
    return Mixing(forward=7 * states, backward=15 * states, backward_frozen=13 * states)


def _blocks(shape: Mapping[str, Any]) -> Blocks:
    """Input, selection, step size and output projections around convolution and scan."""
    width, state, rank = shape["hidden_size"], shape["state_size"], shape["time_step_rank"]
    inner = int(shape["expand"] * width)
    block = Block(
        products=(
            Product(name="in_proj", inputs=width, outputs=2 * inner, first=True),
            Product(name="x_proj", inputs=inner, outputs=rank + 2 * state),
            Product(name="dt_proj", inputs=rank, outputs=inner),
            Product(name="out_proj", inputs=inner, outputs=width),
        ),
        mixing=convolution_mixing(inner, shape["conv_kernel"]) + _scan_mixing(inner, state),
        state=inner * state,
    )
    return ((block, shape["num_hidden_layers"]),)


MAMBA = Architecture(
    name="mamba",
    shapes={
        "tiny": _shape(512, 4, 192),
        "130m": _shape(50280, 24, 768),
        "370m": _shape(50280, 48, 1024),
        "1.4b": _shape(50280, 48, 2048),
        "2.8b": _shape(50280, 64, 2560),
        "8b": _shape(128256, 66, 4096),
    },
    make=_make,
    modeling="transformers.models.mamba.modeling_mamba",
    checkpoints=("mamba",),
    activations=ACTIVATIONS,
    # peft refuses out_proj and conv1d; dt_proj gets no gradient, and x_proj is bypassed by the
    # fused CUDA path, which takes its raw weight. in_proj is called as a module everywhere.
    lora_targets=("in_proj",),
    # Read as raw weights by the torch path (dt_proj) or by the fused one (x_proj, out_proj).
    # transformers takes both packages by itself where they can be imported.
    vendor=Vendor(
        packages={"mamba_ssm": "mamba-ssm", "causal_conv1d": "causal-conv1d"},
        operators={"selective_scan": "mamba_ssm", "causal_conv1d": "causal_conv1d"},
    ),
    nf4_skip=("x_proj", "dt_proj", "out_proj", "lm_head", "score"),
    # transformers 5.17 and 5.23 both call these by name.
    operators={
        "mamba_inner_fn": Operator(names=("fused_block", "selective_scan"), custom=not_fused),
        "mamba_selective_scan": Operator(names=("selective_scan",), custom=scan),
        "mamba_selective_state_update": Operator(names=("state_update",)),
        "causal_conv1d_fn": Operator(names=("causal_conv1d",), custom=convolution),
        "causal_conv1d_update": Operator(names=("convolution_update",)),
    },
    blocks=_blocks,
)
