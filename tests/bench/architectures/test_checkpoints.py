"""Real checkpoints, saved by the tests with transformers itself."""

import json
import shutil

import pytest
import torch
from crossed import crossed
from saved_checkpoints import ATTENTION, SMALL
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from alignmeter.architectures.checkpoint import find_checkpoint
from alignmeter.batches import open_batches
from alignmeter.errors import CellError, InputError
from alignmeter.methods import open_method, open_setup
from alignmeter.registry import ARCHITECTURES
from alignmeter.session.resolve import resolve_cell
from alignmeter.training.step import SilentProbe

CPU = torch.device("cpu")
FAMILIES = {
    "llama": "llama", "mistral": "llama", "qwen2": "llama", "qwen3": "llama", "mamba": "mamba",
    "mamba2": "mamba2", "bamba": "hybrid",
}  # fmt: skip
"""Kind of checkpoint -> the architecture that it counts as."""


def cell_of(folder, **axes):
    return resolve_cell(
        {"accelerator": "cpu", "seq_len": 16, "data": "synthetic", "model": str(folder), **axes}
    )


def step_of(cell):
    setup = open_setup(cell, CPU, seed=0)
    batches = open_batches(cell, vocab_size=setup.vocab_size, seed=0)
    return open_method(cell.method).build(setup), batches


@pytest.mark.parametrize(*crossed(kind=FAMILIES, peft=["full", "lora", "qlora"]))
def test_each_family_trains(kind, peft, saved):
    planned = cell_of(saved(kind), peft=peft)
    cell = planned.cell
    assert planned.unsupported is None
    assert (cell.architecture, cell.size) == (FAMILIES[kind], "checkpoint")
    assert cell.id.startswith(f"dpo-{cell.architecture}-checkpoint-{peft}-cpu-{kind}-t16-")
    step, batches = step_of(cell)
    losses = [step.run(batches.take(i, CPU), SilentProbe()).loss.item() for i in range(2)]
    assert losses[0] == pytest.approx(0.6931472, abs=1e-5)


@pytest.mark.parametrize(*crossed(kind=FAMILIES, topology=["separate", "shared"]))
def test_each_family_rolls_out(kind, topology, saved):
    step, batches = step_of(cell_of(saved(kind), method="ppo", ppo_topology=topology).cell)
    assert torch.isfinite(step.run(batches.take(0, CPU), SilentProbe()).loss)


def test_the_weights_are_the_checkpoints(saved):
    folder = saved("llama")
    policy = open_setup(cell_of(folder).cell, CPU, seed=0).policy()
    stored = AutoModelForCausalLM.from_pretrained(folder)
    for (name, mine), theirs in zip(policy.named_parameters(), stored.parameters(), strict=True):
        assert torch.equal(mine, theirs), name


def test_a_slice_keeps_the_first_layers(saved):
    for kind in [kind for kind, name in FAMILIES.items() if not ARCHITECTURES[name].hybrid]:
        whole = AutoModelForCausalLM.from_pretrained(saved(kind)).state_dict()
        part = find_checkpoint(str(saved(kind))).build(dtype=torch.float32, layers=2).state_dict()
        assert len(part) < len(whole)
        for name, tensor in part.items():
            assert torch.equal(tensor, whole[name]), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_slice_of_a_hybrid_keeps_one_layer_of_each_kind(dtype, saved):
    """The third attends: it is the second of two, with its own weights, from one file or more."""
    for folder in (saved("bamba"), saved("bamba", shard="30KB")):
        found = find_checkpoint(str(folder))
        whole, part = (found.build(dtype=dtype, layers=n) for n in (None, 2))
        assert [hasattr(layer, "self_attn") for layer in part.model.layers] == [False, True]
        kept = {
            name.replace(".layers.2.", ".layers.1."): tensor
            for name, tensor in whole.state_dict().items()
            if ".layers.1." not in name
        }
        assert kept.keys() == part.state_dict().keys()
        for name, tensor in part.state_dict().items():
            assert tensor.dtype == dtype
            assert torch.equal(tensor, kept[name]), name


def test_the_id_follows_the_weights_not_the_path(saved, tmp_path):
    folder = saved("llama")
    elsewhere = tmp_path / "llama"
    shutil.copytree(folder, elsewhere)
    first, second = cell_of(folder).cell, cell_of(elsewhere).cell
    assert first.id == second.id
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.lm_head.weight[3, 3] += 1
    changed = tmp_path / "changed" / "llama"
    model.save_pretrained(changed)
    assert cell_of(changed).cell.id != first.id


def test_its_own_tokenizer_is_used(saved, tmp_path):
    """A word-level tokenizer: P = 4 words, then answers of two words and the end token."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path / "words"
    shutil.copytree(saved("llama"), folder)
    words = {f"w{i}": i for i in range(3, 100)} | {"<pad>": 0, "<s>": 1, "</s>": 2}
    raw = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", bos_token="<s>"
    ).save_pretrained(folder)
    data = tmp_path / "d.jsonl"
    row = {"prompt": "w9 w10 w11 w12 w13", "chosen": "w20 w21", "rejected": "w30"}
    data.write_text(json.dumps(row))
    cell = cell_of(folder, data=str(data), batch=1, seq_len=8).cell
    source = open_batches(cell, vocab_size=300, seed=0)
    assert source.tokenizer == "checkpoint"
    assert list(source.rows) == [([10, 11, 12, 13, 20, 21, 2], [10, 11, 12, 13, 30, 2])]


def test_a_vocabulary_too_small_for_bytes_is_a_reason(tmp_path):
    folder = tmp_path / "small"
    config = LlamaConfig(**{**SMALL, "vocab_size": 100}, **ATTENTION)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    cell = cell_of(folder, data="packaged").cell
    with pytest.raises(CellError, match=r"no tokenizer.* 100 ids.* 259"):
        open_batches(cell, vocab_size=100, seed=0)


def test_an_architecture_that_is_not_the_checkpoints_is_unsupported(saved):
    planned = cell_of(saved("mistral"), architecture="mamba")
    assert planned.unsupported.code == "impossible"
    assert "is a llama, not a mamba" in planned.unsupported.text


def refused(folder, words):
    with pytest.raises(InputError) as caught:
        cell_of(folder)
    assert words in str(caught.value)
    assert "--model" in str(caught.value) or "safetensors" in str(caught.value)


def test_what_is_no_safe_checkpoint_is_refused(saved, tmp_path):
    """One sentence each; a pickle is never opened."""
    bad = tmp_path / "pickle"
    bad.mkdir()
    shutil.copy(saved("llama") / "config.json", bad)
    torch.save({}, bad / "pytorch_model.bin")
    refused(bad, "no *.safetensors file")
    (bad / "model.safetensors").write_bytes(b"not one")
    find_checkpoint.cache_clear()
    refused(bad, "not a safetensors file")
    (bad / "config.json").write_text("{")
    refused(bad, "not valid JSON")
    (bad / "config.json").write_text('{"model_type": "gpt9"}')
    shutil.copy(saved("llama") / "model.safetensors", bad)
    refused(bad, "model_type is 'gpt9', of which transformers")
    (bad / "config.json").write_text('{"model_type": "llama", "vocab_size": "many"}')
    refused(bad, "vocab_size is 'many'")
    (bad / "config.json").unlink()
    refused(bad, "config.json cannot be read")


def test_a_hub_id_comes_from_the_hubs_cache(saved, tmp_path, monkeypatch):
    """The real hub client on a cache as it lays one out; offline it asks nobody."""
    import huggingface_hub.constants as constants

    store = tmp_path / "models--lab--tiny"
    (store / "refs").mkdir(parents=True)
    (store / "refs" / "main").write_text("c0ffee")
    shutil.copytree(saved("llama"), store / "snapshots" / "c0ffee")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    cell = cell_of("lab/tiny").cell
    assert cell.id.startswith("dpo-llama-checkpoint-full-cpu-tiny-t16-")
    assert cell.model_digest == cell_of(saved("llama")).cell.model_digest
    refused("lab/other", "the hub cannot be reached from here")
    refused("no such/place/at all", "neither a folder nor a hub id")
