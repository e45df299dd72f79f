"""A small Llama of many layers, of which there is a config only."""

import json


def write_deep_config(folder):
    """``config.json`` of 16 layers in ``folder``; returns its path, as --model takes it."""
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 1000,
        "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 16,
        "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": False,
    }  # fmt: skip
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return str(path)
