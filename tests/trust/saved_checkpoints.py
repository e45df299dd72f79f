"""Small checkpoints of every family, saved with transformers itself, and header-only ones."""

import json
import struct

import torch
from transformers import (
    AutoModelForCausalLM,
    BambaConfig,
    LlamaConfig,
    Mamba2Config,
    MambaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from alignmeter.streams import quiet

# Widths are whole NF4 blocks of 64: of others bitsandbytes 0.50 dequantises on a CPU what it did
# not quantise (mean error of N(0, 1) weights 0.26 at 32 x 32, 0.07 at 32 x 64).
SMALL = {"vocab_size": 300, "hidden_size": 64, "num_hidden_layers": 3, "pad_token_id": 0}
ATTENTION = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128}
STATES = {"state_size": 8, "head_dim": 16, "num_heads": 8, "n_groups": 1, "chunk_size": 8}
BOTH = {
    "attn_layer_indices": [2], "mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 8,
    "mamba_chunk_size": 8,
}  # fmt: skip
BIASED = {"attention_bias": True, "mlp_bias": True}
CONFIGS = {
    "llama": lambda **more: LlamaConfig(**SMALL, **ATTENTION, **more),
    "llama-biased": lambda **more: LlamaConfig(**SMALL, **ATTENTION, **BIASED, **more),
    "mistral": lambda **more: MistralConfig(**SMALL, **ATTENTION, **more),
    "qwen2": lambda **more: Qwen2Config(**SMALL, **ATTENTION, **more),
    "qwen3": lambda **more: Qwen3Config(**SMALL, **ATTENTION, head_dim=16, **more),
    "mamba": lambda **more: MambaConfig(**SMALL, state_size=8, **more),
    "mamba2": lambda **more: Mamba2Config(**SMALL, **STATES, **more),
    "bamba": lambda **more: BambaConfig(**SMALL, **ATTENTION, **BOTH, **more),
}


def save(folder, kind="llama", *, dtype=torch.float32, shard=None, seed=7, **more):
    """The folder of a checkpoint of that kind; ``more``: fields of its config."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(CONFIGS[kind](**more)).to(dtype)
    with quiet():  # transformers draws a bar for shards
        model.save_pretrained(folder, **({} if shard is None else {"max_shard_size": shard}))
    return folder


def write_header(path, tensors):
    """A safetensors file of these (dtype, shape) by name, whose data nobody wrote."""
    at, header = 0, {}
    for name, (dtype, shape) in tensors.items():
        bits = int("".join(c for c in dtype.split("_")[0] if c.isdigit()))
        size = torch.Size(shape).numel() * bits // 8
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)


def headers_of(path):
    """Name -> (dtype, shape) of a safetensors file."""
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    return {name: (found["dtype"], tuple(found["shape"])) for name, found in header.items()}
