"""What is no whole checkpoint of its config is refused by name, before weights are read."""

import json
import random
import re
import shutil

import pytest
import torch
from saved_checkpoints import CONFIGS, headers_of, save, write_header

from alignmeter.architectures.checkpoint import find_checkpoint, trained_positions
from alignmeter.errors import InputError

_MUTATED = 300


pytestmark = pytest.mark.usefixtures("afresh")


def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "m")


def sentence(folder, capfd):
    """The refusal: one sentence, short, and nothing of a library beside it."""
    with pytest.raises(InputError) as caught:
        find_checkpoint(str(folder))
    text = str(caught.value).replace(str(folder), "m")
    assert len(text) <= 300
    assert "\n" not in text
    assert capfd.readouterr() == ("", "")
    return text


def rewrite(folder, **fields):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config |= fields
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


@pytest.mark.full
def test_300_mutated_checkpoints_are_300_refused(saved, tmp_path, capfd):
    """One tensor dropped, renamed, reshaped or retyped: its name is in the sentence."""
    draw = random.Random(0)
    folders = []
    for kind in CONFIGS:
        for tied in (False, True):
            folder = saved(kind, tie_word_embeddings=tied)
            folder = shutil.copytree(folder, tmp_path / f"{kind}{tied}")
            folders.append((folder, headers_of(folder / "model.safetensors")))
    refused = 0
    for number in range(_MUTATED):
        folder, tensors = folders[number % len(folders)]
        name = draw.choice(sorted(tensors))
        dtype, shape = tensors[name]
        mutated = {key: value for key, value in tensors.items() if key != name}
        how = ("drop", "rename", "reshape", "retype")[number // len(folders) % 4]
        if how == "rename":
            renamed = draw.choice(["x.", ""]) + name + draw.choice([".0", "_orig", "2"])
            mutated[renamed] = dtype, shape
        elif how == "reshape":
            at = draw.randrange(len(shape))
            other = shape[at] + draw.choice([-1, 1, shape[at]])
            mutated[name] = dtype, (*shape[:at], max(other, 0), *shape[at + 1 :])
        elif how == "retype":
            mutated[name] = draw.choice(["I8", "U8", "I32", "I64", "F64", "F8_E4M3"]), shape
        write_header(folder / "model.safetensors", mutated)
        text = sentence(folder, capfd)
        assert name in text, (how, text)
        refused += 1
    assert refused == _MUTATED


@pytest.mark.parametrize("shard", [None, "30KB"])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", CONFIGS)
def test_what_was_saved_whole_is_taken(kind, tied, shard, saved, capfd):
    more = {"tie_word_embeddings": tied, **({} if shard is None else {"shard": shard})}
    folder = saved(kind, **more)
    assert (len(list(folder.glob("*.safetensors"))) > 1) == (shard is not None)
    assert find_checkpoint(str(folder)).layers == 3
    assert capfd.readouterr() == ("", "")


def test_extras_that_transformers_ignores_are_right(saved, tmp_path):
    folder = copied(saved(), tmp_path)
    tensors = headers_of(folder / "model.safetensors")
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = "F32", (4,)
    write_header(folder / "model.safetensors", tensors)
    assert find_checkpoint(str(folder)).layers == 3


@pytest.mark.parametrize("prefix", ["base_model.model.", "module.", "_orig_mod."])
@pytest.mark.parametrize("kind", ["llama", "mamba"])
def test_a_wrapped_models_prefix_is_named(kind, prefix, saved, tmp_path, capfd):
    folder = copied(saved(kind), tmp_path)
    tensors = headers_of(folder / "model.safetensors")
    write_header(folder / "model.safetensors", {prefix + n: t for n, t in tensors.items()})
    assert f"names begin with '{prefix}'" in sentence(folder, capfd)


def test_a_head_in_the_causal_lms_place_is_said(saved, tmp_path, capfd):
    folder = copied(saved(), tmp_path)
    tensors = headers_of(folder / "model.safetensors")
    tensors["score.weight"] = "F32", (1, 64)
    del tensors["lm_head.weight"]
    write_header(folder / "model.safetensors", tensors)
    assert "score.weight is the head of a reward" in sentence(folder, capfd)


def lose_a_shard(folder):
    shards = sorted(folder.glob("model-*"))
    shards[1].unlink()
    return f"{shards[1].name} is not there"


def hold_one_twice(folder):
    first, second = sorted(folder.glob("model-*"))[:2]
    name = next(iter(headers_of(first)))
    write_header(second, headers_of(second) | {name: headers_of(first)[name]})
    return f"{name} is in {first.name} and in {second.name}"


def index_another_file(folder):
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    name, other = "model.norm.weight", sorted(folder.glob("model-*"))[0].name
    index["weight_map"][name] = other
    path.write_text(json.dumps(index))
    return f"{name} is in {other}, which does not hold it"


def index_one_less(folder):
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    del index["weight_map"]["model.norm.weight"]
    path.write_text(json.dumps(index))
    return "holds model.norm.weight, which"


def index_nothing(folder):
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../x"}}')
    return "weight_map must give the file of each tensor"


@pytest.mark.parametrize(
    "spoil", [lose_a_shard, hold_one_twice, index_another_file, index_one_less, index_nothing]
)
def test_shards_and_index_must_agree(spoil, saved, tmp_path, capfd):
    folder = copied(saved(shard="30KB"), tmp_path)
    wanted = spoil(folder)
    assert wanted in sentence(folder, capfd)


@pytest.mark.parametrize(
    ("quantisation", "words"),
    [
        ({"quant_method": "gptq", "bits": 4}, "'gptq'"),
        ({"quant_method": "awq"}, "'awq'"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "'bitsandbytes'"),
        ({"quant_method": "fp8"}, "'fp8'"),
        ({"bits": 4}, "without a name"),
    ],
)
def test_quantised_weights_are_named(quantisation, words, saved, tmp_path, capfd):
    folder = copied(saved(), tmp_path)
    rewrite(folder, quantization_config=quantisation)
    text = sentence(folder, capfd)
    assert f"quantization_config says {words}" in text or words in text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"vocab_size": 310},
            "is [300, 64] in the file, [310, 64] by config.json (vocab_size)",
        ),
        ({"hidden_size": 128, "head_dim": 16}, "(hidden_size or intermediate_size)"),
        ({"intermediate_size": 100}, "(intermediate_size)"),
        ({"num_hidden_layers": 4}, "num_hidden_layers is 4"),
        ({"num_hidden_layers": 2}, "model.layers.2."),
        ({"num_attention_heads": 6}, "config.json makes no model: The hidden size (64) is not a"),
        ({"model_type": None}, "no model_type, which names its family"),
        ({"model_type": ["llama"]}, "model_type is ['llama']"),
        ({"vocab_size": None}, "vocab_size is None"),
        ({"transformers_weights": "other.safetensors"}, "transformers_weights"),
    ],
)
def test_a_config_of_another_model_is_named(fields, words, saved, tmp_path, capfd):
    folder = copied(saved(), tmp_path)
    rewrite(folder, **fields)
    assert words in sentence(folder, capfd)


def test_a_file_that_is_cut_off_is_named(saved, tmp_path, capfd):
    folder = copied(saved(), tmp_path)
    path = folder / "model.safetensors"
    for size in (0, 4, 100, path.stat().st_size - 1):
        path.write_bytes((saved() / path.name).read_bytes()[:size])
        assert re.search(r"model\.safetensors is .* cut off or damaged", sentence(folder, capfd))


def test_a_tie_that_the_files_break_is_named(saved, tmp_path, capfd):
    """transformers then keeps both, and the plan would count one."""
    folder = copied(saved(), tmp_path)
    rewrite(folder, tie_word_embeddings=True)
    assert "tie_word_embeddings is true, but" in sentence(folder, capfd)


def test_the_same_matrix_stored_twice_is_a_tie(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = save(tmp_path / "m", tie_word_embeddings=True)
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    model = find_checkpoint(str(folder)).build(dtype=torch.float32)
    assert model.lm_head.weight is model.get_input_embeddings().weight


@pytest.mark.parametrize(
    ("shape", "length"),
    [
        ({}, None),
        ({"max_position_embeddings": 4096}, 4096),
        ({"max_position_embeddings": 4096, "rope_parameters": {"rope_type": "default"}}, 4096),
        ({"max_position_embeddings": 2048, "rope_scaling": {"factor": 4.0}}, 8192),
        (  # Qwen2.5 with YaRN, as its card says
            {
                "max_position_embeddings": 32768,
                "rope_parameters": {
                    "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768,
                },
            },
            131072,
        ),
        (  # Llama 3.1: the longer length stands there already
            {
                "max_position_embeddings": 131072,
                "rope_parameters": {
                    "rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192,
                },
            },
            131072,
        ),
    ],
)  # fmt: skip
def test_positions_that_scaling_reaches(shape, length):
    assert trained_positions(shape) == length
