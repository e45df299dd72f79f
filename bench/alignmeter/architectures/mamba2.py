"""Mamba-2 (https://arxiv.org/abs/2405.21060). 130m to 2.8b are the published shapes."""

__all__ = ["MAMBA2"]

from collections.abc import Mapping
from typing import Any

from torch import nn

from alignmeter.architectures.base import SPECIAL_TOKENS, Architecture, Shape
from alignmeter.architectures.convolution import ACTIVATIONS
from alignmeter.architectures.ssd import (
    MAMBA_PACKAGES,
    SSD_OPERATORS,
    SSD_VENDOR_OPERATORS,
    ssd_mixer,
)
from alignmeter.architectures.vendor import Vendor
from alignmeter.flops import Blocks


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


def _make(shape: Shape) -> nn.Module:
    from transformers import Mamba2Config, Mamba2ForCausalLM

    config: Any = {**shape, **SPECIAL_TOKENS}
    model: nn.Module = Mamba2ForCausalLM(Mamba2Config(**config))
    return model


def _blocks(shape: Mapping[str, Any]) -> Blocks:
    width = shape["hidden_size"]
    block = ssd_mixer(
        width,
        int(shape["expand"] * width),
        heads=shape["num_heads"],
        groups=shape["n_groups"],
        state=shape["state_size"],
        kernel=shape["conv_kernel"],
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
    vendor=Vendor(packages=MAMBA_PACKAGES, operators=SSD_VENDOR_OPERATORS),
    nf4_skip=("out_proj", "lm_head", "score"),
    operators=SSD_OPERATORS,
    blocks=_blocks,
)
