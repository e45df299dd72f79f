"""Fields of config.json that pass transformers and would make a step raise or its losses NaN."""

import json
import math
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from saved_checkpoints import headers_of, save, write_header

from alignmeter.architectures.checkpoint import find_checkpoint
from alignmeter.architectures.checkpoint.config import open_config
from alignmeter.architectures.checkpoint.refusal import named, one_line
from alignmeter.errors import InputError

pytestmark = pytest.mark.usefixtures("afresh")


def copied(saved, tmp_path, kind="llama", **fields):
    folder = shutil.copytree(saved(kind), tmp_path / "m")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    return folder


def sentence(folder):
    with pytest.raises(InputError) as caught:
        find_checkpoint(str(folder))
    text = str(caught.value).replace(str(folder), "m")
    assert len(text) <= 300
    assert text.isprintable()
    return text


def rope(kind="default", theta=1e4, **more):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **more}}


def longrope(short, long):
    more = {"factor": 2.0, "original_max_position_embeddings": 64}
    return rope("longrope", short_factor=short, long_factor=long, **more)


def scales(first):
    return {"factor": 2.0, "mscale": first, "mscale_all_dim": 1.0}


YARN = {"original_max_position_embeddings": 64}
LLAMA3 = {"factor": 2.0, "original_max_position_embeddings": 64}
WRONG = [
    ("llama", {"attention_dropout": 1.5}, "attention_dropout is 1.5; want a number from 0 to 1"),
    ("llama", {"attention_dropout": -0.1}, "attention_dropout is -0.1; want"),
    ("llama", {"rms_norm_eps": -1.0}, "rms_norm_eps is -1.0; want a number over 0, at most 1"),
    ("llama", {"rms_norm_eps": math.nan}, "rms_norm_eps is nan; want"),
    ("mistral", {"rms_norm_eps": 0.0}, "rms_norm_eps is 0.0; want"),
    ("qwen3", {"rms_norm_eps": math.inf}, "rms_norm_eps is inf; want"),
    ("mamba", {"layer_norm_epsilon": -1e-5}, "layer_norm_epsilon is -1e-05; want"),
    ("mamba2", {"layer_norm_epsilon": 1e9}, "layer_norm_epsilon is 1000000000.0; want"),
    ("llama", {"hidden_size": "64"}, "hidden_size is '64'; want a whole number from 1 on"),
    ("llama", {"hidden_size": 64.0}, "hidden_size is 64.0; want a whole number from 1 on"),
    ("llama", {"num_attention_heads": 0}, "num_attention_heads is 0; want a whole number"),
    ("qwen2", {"num_key_value_heads": 0}, "num_key_value_heads is 0; want a whole number"),
    ("llama", {"num_key_value_heads": 3}, "num_attention_heads is 4; want a multiple of num_key"),
    ("llama", {"head_dim": 0}, "head_dim is 0; want a whole number"),
    ("llama", {"head_dim": 2**40}, "head_dim is 1099511627776, and no tensor in the files is wid"),
    ("llama", {"return_dict": False}, "return_dict is False; want true"),
    ("qwen2", {"layer_types": ["chunked_attention"] * 3}, "does not run: nothing is known as 'chu"),
    ("qwen3", {"layer_types": ["full_attention"] * 2 + ["linear_attention"]}, "'linear_attention'"),
    ("qwen2", {"layer_types": ["sliding_attention"] * 3}, "does not run: Could not find a `slid"),
    ("llama", longrope([0.0] * 8, [1.0] * 8), "longrope positions are not fin"),
    ("llama", longrope([1.0] * 8, [0.0] * 8), "longrope positions are not fin"),
    ("llama", longrope([1.0] * 7, [1.0] * 7), "makes no model: Attempting to broadcast"),
    ("llama", longrope([1.0] * 8, [1.0] * 7), "rope_parameters: The size of tensor a"),
    ("llama", {"head_dim": 15}, "even rotary dimension"),
    ("llama", {"max_position_embeddings": 0}, "max_position_embeddings is 0; want"),
    ("llama", {"num_hidden_layers": 10**12}, "is 1000000000000, but the files hold 3 layers and"),
    ("qwen2", {"num_hidden_layers": 20000}, "num_hidden_layers is 20000, but the files hold 3"),
    ("llama", {"hidden_act": "nonsense"}, "hidden_act is 'nonsense'; want a name that transform"),
    ("llama", {"hidden_act": 5}, "Field 'hidden_act' expected str, got int"),
    ("mamba", {"hidden_act": "relu"}, "hidden_act is 'relu'; want silu or swish"),
    ("mamba2", {"hidden_act": "gelu"}, "hidden_act is 'gelu'; want silu or swish"),
    ("mamba2", {"chunk_size": 0}, "chunk_size is 0; want a whole number"),
    ("mamba2", {"chunk_size": -3}, "chunk_size is -3; want a whole number"),
    ("mamba2", {"n_groups": 3}, "num_heads is 8; want a multiple of n_groups"),
    ("mamba2", {"time_step_limit": [1.0, 0.5]}, "time_step_limit is [1.0, 0.5]; want two numbers"),
    ("mamba2", {"time_step_limit": [0.0, 0.0]}, "time_step_limit is [0.0, 0.0]; want two numbers"),
    ("mamba2", {"time_step_limit": [0.1]}, "time_step_limit is [0.1]; want two numbers"),
    ("bamba", {"mamba_d_state": 0}, "mamba_d_state is 0; want a whole number"),
    ("bamba", {"mamba_chunk_size": -1}, "mamba_chunk_size is -1; want a whole number"),
    ("bamba", {"mamba_n_groups": 3}, "mamba_n_heads is 8; want a multiple of mamba_n_groups"),
    ("bamba", {"mamba_d_head": 0}, "Mamba head state do not match"),
    ("bamba", {"time_step_limit": [1.0, 0.5]}, "time_step_limit is (1.0, 0.5); want two numbers"),
    ("bamba", {"hidden_act": "gelu"}, "hidden_act is 'gelu'; want silu or swish"),
    ("bamba", {"attn_layer_indices": [1]}, "model.layers.1."),
    ("mistral", {"sliding_window": 0}, "sliding_window is 0; want a whole number from 1 on, or"),
    ("mistral", {"sliding_window": -4}, "sliding_window is -4; want a whole number from 1 on, or"),
    ("qwen2", {"use_sliding_window": True, "sliding_window": 0}, "sliding_window is 0; want"),
    ("llama", rope(theta=0), "rope_parameters: rope_theta is 0; want a number over 1"),
    ("llama", rope(theta=-5.0), "rope_parameters: rope_theta is -5.0; want a number over 1"),
    ("llama", rope("yarn", theta=1.0, factor=2.0, **YARN), "rope_theta is 1.0; want a number ov"),
    ("llama", rope("magic"), "rope_type is 'magic'; want default or linear or dynamic or yarn"),
    ("llama", rope("linear", factor=0), "rope_parameters: factor is 0; want a number from 1 on"),
    ("llama", rope("linear", factor="2"), "rope_parameters: factor is '2'; want a number from 1"),
    ("llama", rope("yarn", factor=0, **YARN), "factor is 0; want a number from 1 on"),
    ("llama", rope("yarn", **YARN), "Missing required keys in `rope_parameters`"),
    ("llama", rope("yarn", factor=2.0, attention_factor=0.0, **YARN), "attention_factor is 0.0"),
    ("llama", rope("llama3", low_freq_factor=0.0, high_freq_factor=4.0, **LLAMA3), "low_freq_fac"),
    ("llama", rope("yarn", **YARN, **scales(math.nan)), "yarn positions are not finite, or all"),
    ("llama", rope("yarn", **YARN, **scales(-99.0)), "yarn positions are not finite, or all zero"),
    ("llama", rope("linear", factor=2.0, partial_rotary_factor=0.5), "8 of a head's 16 numbers"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "fields", "words"), WRONG, ids=lambda v: str(v)[:40])
def test_a_field_out_of_range_is_named_before_a_worker(kind, fields, words, saved, tmp_path):
    assert words in sentence(copied(saved, tmp_path, kind, **fields))


RIGHT = [
    ("qwen3", {
        "layer_types": ["full_attention", "sliding_attention", "full_attention"],
        "use_sliding_window": True, "sliding_window": 4,
    }),
    ("llama", {"rms_norm_eps": 1e-6, "attention_dropout": 0.0, "hidden_act": "gelu_new"}),
    ("llama", rope("linear", factor=1.0)),
    ("llama", rope("dynamic", factor=2.0)),
    ("llama", rope("yarn", factor=4.0, mscale=1.0, mscale_all_dim=0.8, **YARN)),
    ("llama", rope("llama3", low_freq_factor=1.0, high_freq_factor=4.0, **LLAMA3)),
    ("llama", longrope([1.0] * 8, [2.0] * 8)),
    ("llama", {"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": None}),
    ("mistral", {"sliding_window": None}),
    ("mistral", {"sliding_window": 8, "head_dim": None}),
    ("qwen2", {"use_sliding_window": False, "sliding_window": 0}),  # not used
    ("mamba", {"hidden_act": "swish", "time_step_rank": "auto"}),
    ("mamba2", {"time_step_limit": [0.0, {"__float__": "Infinity"}]}),
    ("mamba2", {"time_step_limit": [0.001, 0.1], "chunk_size": 1}),
    ("bamba", {"time_step_limit": [0.001, 0.1], "mamba_d_head": "auto"}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "fields"), RIGHT, ids=lambda v: str(v)[:40])
def test_a_field_within_its_range_is_taken(kind, fields, saved, tmp_path):
    assert find_checkpoint(str(copied(saved, tmp_path, kind, **fields))).layers == 3


def test_layers_are_counted_before_a_model_is_made(saved, tmp_path):
    """A tensor of layer 19999 does not make 20000 layers; nor does one of layer 10**5000."""
    folder = copied(saved, tmp_path, num_hidden_layers=20000)
    tensors = headers_of(folder / "model.safetensors")
    for layer in (19999, "9" * 5000):
        tensors[f"model.layers.{layer}.mlp.up_proj.weight"] = "F32", (1, 1)
    write_header(folder / "model.safetensors", tensors)
    assert "files hold 4 layers and nothing of layer 3" in sentence(folder)


def test_dropout_is_off_and_known(saved, tmp_path):
    checkpoint = find_checkpoint(str(copied(saved, tmp_path, attention_dropout=0.5)))
    assert checkpoint.dropout == {"attention_dropout": 0.5}
    assert open_config(checkpoint.folder).attention_dropout == 0.0
    model = checkpoint.build(dtype=torch.float32).train()
    assert {layer.self_attn.attention_dropout for layer in model.model.layers} == {0.0}


@pytest.mark.parametrize(
    ("encode", "words"),
    [
        (lambda text: b"\xef\xbb\xbf" + text.encode(), "begins with a byte order mark; save it"),
        (lambda text: text.encode("utf-16"), "config.json is not UTF-8; save it as UTF-8"),
        (lambda text: text.replace("llama", "ll\xe4ma").encode("latin-1"), "is not UTF-8; save"),
    ],
    ids=["bom", "utf-16", "latin-1"],
)
def test_a_config_that_transformers_cannot_read_is_named(encode, words, saved, tmp_path):
    folder = copied(saved, tmp_path)
    path = folder / "config.json"
    path.write_bytes(encode(path.read_text()))
    assert words in sentence(folder)


@pytest.mark.parametrize("metadata", [None, []])
def test_an_index_that_transformers_cannot_load_is_named(metadata, saved, tmp_path):
    folder = shutil.copytree(saved(shard="30KB"), tmp_path / "m")
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text()) | {"metadata": metadata}
    path.write_text(json.dumps({k: v for k, v in index.items() if v is not None}))
    assert 'has no metadata, which transformers asks for; add "metadata": {}' in sentence(folder)


@pytest.mark.parametrize(
    ("put", "words"),
    [
        (os.mkdir, "is a folder; want a file"),
        (lambda path: path.symlink_to(path), "is a link to nothing; want a file"),
        (os.mkfifo, "is no regular file; want a file"),
    ],
    ids=["folder", "loop", "pipe"],
)
def test_what_lies_in_the_files_place_is_said(put, words, saved, tmp_path):
    folder = copied(saved, tmp_path)
    whole = folder / "model.safetensors"
    whole.unlink()
    put(whole)
    assert f"model.safetensors {words}" in sentence(folder)
    folder = shutil.copytree(saved(shard="30KB"), tmp_path / "sharded")
    shard = min(folder.glob("model-*"))
    shard.unlink()
    put(shard)
    assert f"{shard.name} {words.split(';')[0]}" in sentence(folder)


def test_nan_in_both_of_a_tied_pair_is_no_difference(tmp_path):
    """Of the NaN itself the cell's record speaks."""
    folder = save(tmp_path / "m", tie_word_embeddings=True)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.embed_tokens.weight"][1, 2] = math.nan
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert find_checkpoint(str(folder)).layers == 3
    find_checkpoint.cache_clear()
    tensors["lm_head.weight"][1, 3] = math.nan
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert "tie_word_embeddings is true, but" in sentence(folder)


@pytest.mark.parametrize("name", ["a\nb" * 200, "", " ", "\x1b[31mred", "x" * 5000])
def test_any_tensor_name_stays_within_its_sentence(name, saved, tmp_path):
    folder = copied(saved, tmp_path)
    tensors = headers_of(folder / "model.safetensors")
    write_header(folder / "model.safetensors", tensors | {name: ("F32", (1,))})
    assert f"--model m: {named(name)} in model.safetensors" in sentence(folder)
    assert named(name).strip()


def test_a_folder_name_that_no_file_system_takes_is_refused():
    for name in ("a" * 300, "a/" * 3000, "a\0b"):
        with pytest.raises(InputError, match="neither a folder nor a hub id") as caught:
            find_checkpoint(name)
        assert len(str(caught.value)) <= 300


def test_what_a_library_says_is_one_line_without_its_headline():
    field = ValueError("Validation error for field 'a':\n    TypeError: Field 'a' expected int")
    assert one_line(field) == "Field 'a' expected int"
    assert one_line(KeyError("magic")) == "nothing is known as 'magic'"
    assert one_line(KeyError("Missing keys: {'factor'}")) == "Missing keys: {'factor'}"
    torch_error = RuntimeError("too large\nException raised from f at g.cpp:1\nframe #0: h")
    assert one_line(torch_error) == "too large"
    assert one_line(ValueError("only:")) == "only:"
    assert one_line(ValueError()) == "ValueError"
