"""Two ranks for the tests of this folder."""

import json

import pytest
from rank_pair import Pair

from alignmeter.architectures.checkpoint import configs_alone


@pytest.fixture(scope="session")
def pair(launcher, tmp_path_factory):
    with Pair(tmp_path_factory.mktemp("pair")) as pair:
        yield pair


@pytest.fixture
def config_of_16_layers(tmp_path):
    """A small Llama of 16 layers, of which there is a config only."""
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 1000,
        "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 16,
        "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": False,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    with configs_alone():
        yield str(tmp_path / "config.json")
