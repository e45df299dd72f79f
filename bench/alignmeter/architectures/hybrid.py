"""A hybrid: Mamba-2 layers, and every ninth attends (Bamba, https://huggingface.co/blog/bamba).

Bamba-9B has 32 layers, of which 9, 18 and 27 attend, each with a gated MLP after its mixer; heads,
states and groups of 8b are its own, its MLP is narrower and the vocabulary is Llama-3's. The others
are llama's layers, widths and heads, with MLPs that make the size the same.
"""

__all__ = ["HYBRID"]

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from torch import nn

from alignmeter.architectures.base import SPECIAL_TOKENS, Architecture, Shape
from alignmeter.architectures.convolution import ACTIVATIONS
from alignmeter.architectures.layers import ATTENDING
from alignmeter.architectures.ssd import (
    MAMBA_PACKAGES,
    SSD_OPERATORS,
    SSD_VENDOR_OPERATORS,
    ssd_mixer,
)
from alignmeter.architectures.transformer import (
    ATTENTION_TARGETS,
    MLP_TARGETS,
    attention,
    gated_mlp,
    transformer_shape,
)
from alignmeter.architectures.vendor import Vendor
from alignmeter.flops import Blocks

_EVERY = 9
"""Layers from one that attends to the next."""


def _shape(
    vocab: int,
    layers: int,
    width: int,
    heads: int,
    kv_heads: int,
    mlp: int,
    *,
    attending: Sequence[int] = (),
    state: int = 128,
    head: int = 64,
    chunk: int = 256,
) -> Shape:
    return {
        **transformer_shape(vocab, layers, width, heads, kv_heads, mlp),
        ATTENDING: [*(attending or range(_EVERY, layers, _EVERY))],
        "mamba_expand": 2,
        "mamba_n_heads": 2 * width // head,
        "mamba_d_head": head,
        "mamba_n_groups": 1,
        "mamba_d_state": state,
        "mamba_d_conv": 4,
        "mamba_chunk_size": chunk,
    }


def _make(shape: Shape) -> nn.Module:
    from transformers import BambaConfig, BambaForCausalLM

    config: Any = {**shape, **SPECIAL_TOKENS}
    model: nn.Module = BambaForCausalLM(BambaConfig(**config))
    return model


def _use_vendor(model: Any) -> None:
    """flash-attn's attention; of the two packages for Mamba transformers finds what it takes."""
    model.set_attn_implementation("flash_attention_2")


def _blocks(shape: Mapping[str, Any]) -> Blocks:
    """Runs of layers of one kind, each a mixer and a gated MLP."""
    width, mlp = shape["hidden_size"], gated_mlp(shape)
    scanning = ssd_mixer(
        width,
        int(shape["mamba_expand"] * width),
        heads=shape["mamba_n_heads"],
        groups=shape["mamba_n_groups"],
        state=shape["mamba_d_state"],
        kernel=shape["mamba_d_conv"],
    )
    mixers = {False: scanning, True: attention(shape)}
    blocks = {
        kind: replace(mixer, products=(*mixer.products, *mlp)) for kind, mixer in mixers.items()
    }
    attending = frozenset(shape[ATTENDING] or ())
    runs = groupby(layer in attending for layer in range(shape["num_hidden_layers"]))
    return tuple((blocks[kind], len([*run])) for kind, run in runs)


HYBRID = Architecture(
    name="hybrid",
    shapes={
        # Three layers have no ninth: the second attends.
        "tiny": _shape(512, 3, 192, 4, 4, 192, attending=(1,), state=64, head=32, chunk=32),
        "130m": _shape(50280, 12, 768, 12, 12, 1664),
        "370m": _shape(50280, 24, 1024, 16, 16, 2240),
        "1.4b": _shape(50280, 24, 2048, 32, 32, 4416),
        "2.8b": _shape(50280, 32, 2560, 32, 32, 5504),
        "8b": _shape(128256, 32, 4096, 32, 8, 9856),
    },
    make=_make,
    modeling="transformers.models.bamba.modeling_bamba",
    checkpoints=("bamba",),
    activations=ACTIVATIONS,
    turns_part=True,
    # Of the Mamba-2 mixer as in `mamba2`: peft refuses out_proj, whose weight the fused CUDA path
    # reads without calling it.
    lora_targets=("in_proj", *ATTENTION_TARGETS, *MLP_TARGETS),
    nf4_skip=("out_proj", "lm_head", "score"),
    vendor=Vendor(
        packages={"flash_attn": "flash-attn", **MAMBA_PACKAGES},
        operators={"attention": "flash_attn", **SSD_VENDOR_OPERATORS},
        patch=_use_vendor,
    ),
    operators=SSD_OPERATORS,
    blocks=_blocks,
)
