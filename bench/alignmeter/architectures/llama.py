"""Llama (Transformer). 8b is Llama-3-8B; the others are fitted to the published Mamba sizes."""

__all__ = ["LLAMA"]

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from alignmeter.architectures.base import SPECIAL_TOKENS, Architecture, Shape
from alignmeter.architectures.transformer import (
    ATTENTION_TARGETS,
    MLP_TARGETS,
    attention,
    gated_mlp,
    transformer_shape,
)
from alignmeter.architectures.vendor import Vendor
from alignmeter.flops import Blocks


def _make(shape: Shape) -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    config: Any = {**shape, **SPECIAL_TOKENS}
    model: nn.Module = LlamaForCausalLM(LlamaConfig(**config))
    return model


def _use_vendor(model: Any) -> None:
    """Liger's norm, rotary embedding and MLP, and flash-attn's attention.

    Liger's losses stay out: log-probs per token are this project's own operator.
    """
    from liger_kernel.transformers import apply_liger_kernel_to_llama

    apply_liger_kernel_to_llama(
        rope=True,
        swiglu=True,
        rms_norm=True,
        cross_entropy=False,
        fused_linear_cross_entropy=False,
        model=model,
    )
    model.set_attn_implementation("flash_attention_2")


def _blocks(shape: Mapping[str, Any]) -> Blocks:
    mixer = attention(shape)
    block = replace(mixer, products=(*mixer.products, *gated_mlp(shape)))
    return ((block, shape["num_hidden_layers"]),)


LLAMA = Architecture(
    name="llama",
    shapes={
        "tiny": transformer_shape(512, 3, 192, 4, 4, 320),
        "130m": transformer_shape(50280, 12, 768, 12, 12, 2240),
        "370m": transformer_shape(50280, 24, 1024, 16, 16, 2944),
        "1.4b": transformer_shape(50280, 24, 2048, 32, 32, 5760),
        "2.8b": transformer_shape(50280, 32, 2560, 32, 32, 7168),
        "8b": transformer_shape(128256, 32, 4096, 32, 8, 14336),
    },
    make=_make,
    modeling="transformers.models.llama.modeling_llama",
    checkpoints=("llama", "mistral", "qwen2", "qwen3"),
    lora_targets=(*ATTENTION_TARGETS, *MLP_TARGETS),
    nf4_skip=("lm_head", "score"),
    blocks=_blocks,
    vendor=Vendor(
        packages={"flash_attn": "flash-attn", "liger_kernel": "liger-kernel"},
        operators={"attention": "flash_attn", "rms_norm": "liger_kernel", "mlp": "liger_kernel"},
        patch=_use_vendor,
    ),
)
