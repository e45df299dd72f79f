"""Small configs of many families, and the table of docs/models.md that they make.

``python tests/trust/families.py > docs/models.md``, after a family or a rule was added.
"""

__all__ = ["CONFIGS", "config_file", "page"]

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import transformers
from transformers import PretrainedConfig

from alignmeter.architectures import Architecture
from alignmeter.architectures.checkpoint import find_checkpoint
from alignmeter.registry import ARCHITECTURES
from alignmeter.session.resolve import resolve_cell
from alignmeter.streams import quiet

_TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_SMALL = {"vocab_size": 512, "hidden_size": 64, "num_hidden_layers": 2, **_TOKENS}
_FOUR = {**_SMALL, "num_hidden_layers": 4}
_HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128}
_HEAD = {**_HEADS, "head_dim": 16}
_LOCAL = {"num_local_experts": 4, "num_experts_per_tok": 2}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
_MAMBA2 = {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16, "mamba_chunk_size": 16}
_DELTA = {
    "linear_num_key_heads": 2, "linear_num_value_heads": 4,
    "linear_key_head_dim": 16, "linear_value_head_dim": 16,
}  # fmt: skip
_ATTENDS, _SCANS = "full_attention", "linear_attention"

_ROWS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "Llama": ("LlamaConfig", {**_SMALL, **_HEADS}),
    "Mistral": ("MistralConfig", {**_SMALL, **_HEADS}),
    "Qwen2": ("Qwen2Config", {**_SMALL, **_HEADS}),
    "Qwen3": ("Qwen3Config", {**_SMALL, **_HEAD}),
    "Gemma 2": ("Gemma2Config", {**_SMALL, **_HEAD}),
    "Gemma 3": ("Gemma3TextConfig", {**_SMALL, **_HEAD}),
    "Phi-3": ("Phi3Config", {**_SMALL, **_HEADS}),
    "Phi-4-mini": (
        "Phi3Config",
        {**_SMALL, **_HEADS, "partial_rotary_factor": 0.75, "tie_word_embeddings": True},
    ),
    "Phi-2": ("PhiConfig", {**_SMALL, **_HEADS, "resid_pdrop": 0.1}),
    "OLMo-2": ("Olmo2Config", {**_SMALL, **_HEADS}),
    "SmolLM3": ("SmolLM3Config", {**_SMALL, **_HEADS}),
    "Granite": ("GraniteConfig", {**_SMALL, **_HEADS, "logits_scaling": 8.0}),
    "Command R7B": ("Cohere2Config", {**_SMALL, **_HEADS}),
    "GLM-4": ("Glm4Config", {**_SMALL, **_HEAD}),
    "GPT-NeoX": ("GPTNeoXConfig", {**_SMALL, "num_attention_heads": 4, "intermediate_size": 128}),
    "GPT-2": (
        "GPT2Config",
        {
            "vocab_size": 512, "n_embd": 64, "n_layer": 2, "n_head": 4, "bos_token_id": 1,
            "eos_token_id": 2,
        },
    ),
    "Mixtral": ("MixtralConfig", {**_SMALL, **_HEADS, **_LOCAL}),
    "Qwen3-MoE": ("Qwen3MoeConfig", {**_SMALL, **_HEAD, **_EXPERTS}),
    "gpt-oss": ("GptOssConfig", {**_SMALL, **_HEAD, **_LOCAL}),
    "DeepSeek-V3": (
        "DeepseekV3Config",
        {
            **_SMALL, **_HEADS, "num_key_value_heads": 4, "moe_intermediate_size": 64,
            "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
            "first_k_dense_replace": 1, "q_lora_rank": 64, "kv_lora_rank": 64,
            "qk_rope_head_dim": 16, "qk_nope_head_dim": 16, "v_head_dim": 16,
        },
    ),
    "Mamba": ("MambaConfig", {**_SMALL, "state_size": 8}),
    "Mamba-2": (
        "Mamba2Config",
        {**_SMALL, "state_size": 8, "head_dim": 16, "num_heads": 8, "n_groups": 1, "chunk_size": 8},
    ),
    "Falcon-Mamba": ("FalconMambaConfig", {**_SMALL, "state_size": 8}),
    "Jamba": (
        "JambaConfig",
        {
            **_FOUR, **_HEADS, "attn_layer_period": 4, "attn_layer_offset": 1, "num_experts": 4,
            "expert_layer_period": 2, "expert_layer_offset": 1, "mamba_d_state": 8,
            "mamba_dt_rank": 8,
        },
    ),
    "Zamba2": (
        "Zamba2Config",
        {
            **_FOUR, **_HEADS, "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"],
            "hybrid_layer_ids": [1, 3], "num_mem_blocks": 1, "adapter_rank": 16,
            "mamba_headdim": 16, "n_mamba_heads": 8, "mamba_d_state": 16, "mamba_ngroups": 1,
            "chunk_size": 16,
        },
    ),
    "Bamba": ("BambaConfig", {**_FOUR, **_HEADS, **_MAMBA2, "attn_layer_indices": [1]}),
    "Nemotron-H": (
        "NemotronHConfig",
        {
            **_FOUR, **_HEAD, "layers_block_type": ["mamba", "mlp", "attention", "mlp"],
            "mamba_num_heads": 8, "mamba_head_dim": 16, "ssm_state_size": 16, "n_groups": 1,
            "chunk_size": 16,
        },
    ),
    "Falcon-H1": (
        "FalconH1Config",
        {**_SMALL, **_HEADS, **_MAMBA2, "mamba_d_ssm": 128, "lm_head_multiplier": 0.5},
    ),
    "Granite 4 hybrid": (
        "GraniteMoeHybridConfig",
        {
            **_FOUR, **_HEADS, **_MAMBA2, **_LOCAL, "shared_intermediate_size": 64,
            "layer_types": [_SCANS, _SCANS, _ATTENDS, _SCANS],
        },
    ),
    "Qwen3-Next": (
        "Qwen3NextConfig",
        {**_FOUR, **_HEAD, **_EXPERTS, **_DELTA, "shared_expert_intermediate_size": 64},
    ),
    "Qwen3.5": ("Qwen3_5TextConfig", {**_FOUR, **_HEAD, **_DELTA}),
    "LFM2": (
        "Lfm2Config",
        {**_FOUR, **_HEADS, "layer_types": ["conv", _ATTENDS, "conv", "conv"]},
    ),
}  # fmt: skip
CONFIGS: Mapping[str, Callable[[], PretrainedConfig]] = {
    name: (lambda kind=kind, fields=fields: getattr(transformers, kind)(**fields))
    for name, (kind, fields) in _ROWS.items()
}
"""Family -> its small config. Widths are whole NF4 blocks of 64."""


def config_file(folder: Path, name: str, **more: Any) -> str:
    """The path of a JSON file below ``folder`` with that config; ``more``: other fields of it."""
    with quiet():
        config = CONFIGS[name]()
        for field, value in more.items():
            setattr(config, field, value)
        text = config.to_json_string(use_diff=False)
    path = folder / f"{name.replace(' ', '-').lower()}.json"
    path.write_text(text)
    return str(path)


def page() -> str:
    """docs/models.md: its text, and a row for each family of `CONFIGS`."""
    with tempfile.TemporaryDirectory() as folder:
        rows = "\n".join(_row(name, config_file(Path(folder), name)) for name in CONFIGS)
    head = Path(__file__).with_name("families.md").read_text()
    return head.replace("{rows}", rows).replace("{transformers}", transformers.__version__)


def _row(name: str, model: str) -> str:
    found = find_checkpoint(model)
    family, notes = found.family, list(_notes(found.family, model))
    marks = (
        "yes",
        "no" if family.no_adapters else "yes",
        "no" if family.no_adapters or family.no_nf4 else "yes",
        ", ".join(_kernels(family)) or "none",
    )
    kind = CONFIGS[name]().model_type
    own = f"`{family.name}`" if family.name in ARCHITECTURES else ""
    targets = "" if family.no_adapters else " ".join(family.lora_targets)
    cells = [name, f"`{kind}`", own, *marks, targets, "; ".join(notes)]
    return f"| {' | '.join(cells)} |"


def _kernels(family: Architecture) -> Iterator[str]:
    """Operators that ``kernels = custom`` replaces."""
    if family.stock_only is None:
        yield "log-probs"
    yield from dict.fromkeys(
        name
        for operator in family.operators.values()
        if operator.custom is not None
        for name in operator.names
        if name != "fused_block"
    )


def _notes(family: Architecture, model: str) -> Iterator[str]:
    for text in (family.no_adapters, family.no_nf4, family.stock_only):
        if text is not None:
            yield text.partition(";")[0]
    axes = {"model": model, "accelerator": "cpu", "data": "synthetic"}
    assert resolve_cell(axes).unsupported is None


if __name__ == "__main__":
    sys.stdout.write(page())
