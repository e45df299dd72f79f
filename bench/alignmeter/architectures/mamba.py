"""Mamba (Mamba-1, https://arxiv.org/abs/2312.00752). 130m to 2.8b are the published shapes."""

__all__ = ["MAMBA"]

from typing import Any

from torch import nn

from alignmeter.architectures.base import SPECIAL_TOKENS, Architecture, Shape


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


def _make(shape: Shape) -> nn.Module:
    from transformers import MambaConfig, MambaForCausalLM

    config: Any = {**shape, **SPECIAL_TOKENS}
    model: nn.Module = MambaForCausalLM(MambaConfig(**config))
    return model


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
    # peft refuses out_proj and conv1d; dt_proj gets no gradient, and x_proj is bypassed by the
    # fused CUDA path, which takes its raw weight. in_proj is called as a module everywhere.
    lora_targets=("in_proj",),
    # Read as raw weights by the torch path (dt_proj) or by the fused one (x_proj, out_proj).
    nf4_skip=("x_proj", "dt_proj", "out_proj", "lm_head", "score"),
    cache_argument="cache_params",
)
