"""A Transformer's keys in a config, and the two halves of its block as products."""

__all__ = ["ATTENTION_TARGETS", "MLP_TARGETS", "attention", "gated_mlp", "transformer_shape"]

from collections.abc import Mapping
from typing import Any

from alignmeter.architectures.base import Shape
from alignmeter.flops import Block, Product

ATTENTION_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP_TARGETS = ("gate_proj", "up_proj", "down_proj")


def transformer_shape(
    vocab: int, layers: int, width: int, heads: int, kv_heads: int, mlp: int
) -> Shape:
    """What every architecture with attention has in its config. Llama-3's vocabulary is untied."""
    return {
        "vocab_size": vocab,
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": mlp,
        "tie_word_embeddings": vocab != 128256,
        "max_position_embeddings": 131072,
    }


def attention(shape: Mapping[str, Any]) -> Block:
    """Attention in which several heads may share keys, at the keys of a config."""
    width, heads = shape["hidden_size"], shape["num_attention_heads"]
    head = shape.get("head_dim") or width // heads
    keys = head * shape["num_key_value_heads"]
    return Block(
        products=(
            Product(name="q_proj", inputs=width, outputs=head * heads, first=True),
            Product(name="k_proj", inputs=width, outputs=keys, first=True, beside=True),
            Product(name="v_proj", inputs=width, outputs=keys, first=True, beside=True),
            Product(name="o_proj", inputs=head * heads, outputs=width),
        ),
        attention=head * heads,
        keys=keys,
    )


def gated_mlp(shape: Mapping[str, Any]) -> tuple[Product, ...]:
    """An MLP whose one half gates the other."""
    width, mlp = shape["hidden_size"], shape["intermediate_size"]
    return (
        Product(name="gate_proj", inputs=width, outputs=mlp),
        Product(name="up_proj", inputs=width, outputs=mlp, beside=True),
        Product(name="down_proj", inputs=mlp, outputs=width),
    )
