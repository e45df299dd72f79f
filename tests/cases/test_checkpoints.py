"""Checkpoints as people have them: what is said of each before a worker starts, and what holds.

Rebuilt small from public reports; a row of each kind, the others of its kind in
`tests/bench/architectures/test_checkpoint_door.py`.
"""

import json
import os
import subprocess
import sys
from itertools import product

import peft as peft_library
import plans
import pytest
import torch
from crossed import crossed
from safetensors.torch import load_file, save_file
from saved_checkpoints import CONFIGS, headers_of, save, write_header
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from alignmeter.architectures import open_architecture
from alignmeter.architectures.checkpoint import find_checkpoint
from alignmeter.errors import CellError, InputError
from alignmeter.planner import predict
from alignmeter.registry import ARCHITECTURES, PEFT_MODES, PRECISIONS
from alignmeter.session import Settings, measure
from alignmeter.session.launcher import Launcher
from alignmeter.session.resolve import input_notes, resolve_cell
from alignmeter.streams import quiet

QUICK = Settings(steps=1, warmup=1, seed=0, timeout_s=120)
AXES = {"accelerator": "cpu", "data": "synthetic", "seq_len": 16}


@pytest.fixture(scope="session")
def launcher():
    """One forkserver for the cells that are measured here."""
    launcher = Launcher()
    launcher.begin_round(0)
    yield launcher
    launcher.close()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A function that gives the folder of the tiny random model of an architecture, saved."""
    folders = {}

    def folder(name):
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp("tiny") / name
            family = open_architecture(name)
            with quiet():
                family.build("tiny", seed=0, dtype=torch.float32).save_pretrained(folders[name])
        return folders[name]

    return folder


def planned(**axes):
    return resolve_cell({**AXES, **axes})


ALL = {"architecture": ARCHITECTURES, "peft": PEFT_MODES, "precision": PRECISIONS}
FEW = {("llama", "lora", "bf16")}
"""The others take minutes."""


def both(tiny, architecture, peft, precision):
    """The random cell and the one of the same model as a checkpoint."""
    axes = {"architecture": architecture, "peft": peft, "precision": precision}
    random, stored = planned(**axes), planned(**axes, model=str(tiny(architecture)))
    assert (random.unsupported is None) == (stored.unsupported is None)
    if random.unsupported is not None:
        pytest.skip(random.unsupported.text)
    return random.cell, stored.cell


@pytest.mark.full
@pytest.mark.parametrize(*crossed(**ALL))
def test_s01_the_plan_of_a_checkpoint_is_the_random_models(architecture, peft, precision, tiny):
    random, stored = both(tiny, architecture, peft, precision)
    assert predict(stored).ledger == predict(random).ledger


@pytest.mark.full
@pytest.mark.parametrize(
    tuple(ALL),
    [
        pytest.param(*row, marks=() if row in FEW else pytest.mark.exhaustive)
        for row in product(*ALL.values())
    ],
)
def test_s01_so_is_the_measured_peak(architecture, peft, precision, tiny, launcher):
    random, stored = both(tiny, architecture, peft, precision)
    measured = plans.measure(stored, launcher).peak_bytes
    assert measured == plans.measure(random, launcher).peak_bytes
    assert predict(stored).peak_bytes == pytest.approx(measured, rel=0.01)


@pytest.mark.full
def test_s01_planning_reads_no_weights(tmp_path):
    """Of 2.4 GB of weights in a file with holes: a process that reads them has them resident."""
    code = (
        "import sys, psutil\n"
        "from alignmeter.session.resolve import input_notes, resolve_cell\n"
        "from alignmeter.planner import plan_cell\n"
        "axes = {'accelerator': 'cpu', 'data': 'synthetic', 'seq_len': 16, 'peft': 'lora'}\n"
        "small = resolve_cell({**axes, 'architecture': 'llama', 'size': 'tiny'}).cell\n"
        "plan_cell(small)\n"
        "before = psutil.Process().memory_info().rss\n"
        "found = plan_cell(resolve_cell({**axes, 'model': sys.argv[1]}).cell)\n"
        "print(found.peak_bytes, psutil.Process().memory_info().rss - before)\n"
    )
    wide = {"hidden_size": 2048, "intermediate_size": 8192, "num_attention_heads": 16}
    folder = save(tmp_path / "small")
    config = json.loads((folder / "config.json").read_text())
    config |= {**wide, "num_hidden_layers": 8, "vocab_size": 32000, "head_dim": 128}
    (folder / "config.json").write_text(json.dumps(config))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    tensors = {n: ("F32", tuple(t.shape)) for n, t in model.state_dict().items()}
    write_header(folder / "model.safetensors", tensors)
    assert headers_of(folder / "model.safetensors") == tensors
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(folder)],
        capture_output=True, text=True, check=False,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    peak, grown = map(int, done.stdout.split())
    assert peak > 2e9
    assert grown < 0.1e9


def saved_with_tokenizer(folder, ids_missing):
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel()
    raw.train_from_iterator(
        ["harbour"],
        trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=["</s>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</s>")
    tokenizer.add_special_tokens({"additional_special_tokens": [f"<|x{i}|>" for i in range(20)]})
    tokenizer.save_pretrained(folder)
    config = CONFIGS["llama"]()
    config.vocab_size = len(tokenizer) - ids_missing
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return len(tokenizer)


def test_s08_the_sentence_names_both_sizes(tmp_path):
    ids = saved_with_tokenizer(tmp_path / "ck", ids_missing=10)
    found = planned(model=str(tmp_path / "ck"), data="packaged").unsupported
    assert found.code == "impossible"
    assert f"has {ids} ids, its embedding only {ids - 10}" in found.text
    assert planned(model=str(tmp_path / "ck")).unsupported is None  # synthetic tokens fit


def test_s08_a_tokenizer_that_fits_is_used(tmp_path):
    saved_with_tokenizer(tmp_path / "ck", ids_missing=0)
    assert planned(model=str(tmp_path / "ck"), data="packaged").unsupported is None


def test_s08_broken_tokenizer_files_are_one_sentence(tmp_path, capfd):
    saved_with_tokenizer(tmp_path / "ck", ids_missing=0)
    (tmp_path / "ck" / "tokenizer.json").write_text("{")
    capfd.readouterr()
    with pytest.raises(InputError, match=r"its tokenizer files cannot be read \(") as caught:
        planned(model=str(tmp_path / "ck"), data="packaged")
    assert len(str(caught.value).replace(str(tmp_path), "")) <= 300
    assert capfd.readouterr() == ("", "")


def run(*arguments, folder):
    """`alignmeter run` in ``folder``, for one step of llama."""
    words = ["run", "--architecture", "llama", "--method", "dpo", "--steps", "1",
             "--data", "synthetic", "--out", "out", *arguments]  # fmt: skip
    return subprocess.run(
        [sys.executable, "-P", "-m", "alignmeter", *words],
        capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip


def quantised(folder):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4, "group_size": 128}
    path.write_text(json.dumps(config))
    return "'gptq'"


def without_a_shard(folder):
    lost = sorted(folder.glob("model-*"))[1]
    lost.unlink()
    return f"{lost.name} is not there"


@pytest.mark.full
@pytest.mark.parametrize("spoil", [quantised, without_a_shard])
def test_s09_nothing_starts_with_what_is_no_whole_checkpoint(spoil, tmp_path):
    save(tmp_path / "ck", shard="30KB")
    words = spoil(tmp_path / "ck")
    done = run("--model", "ck", "--peft", "lora", "--dry-run", folder=tmp_path)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())
    assert len(done.stderr) <= 320
    assert not list(tmp_path.glob("out/*.json"))


@pytest.mark.parametrize("peft", PEFT_MODES)
def test_s10_an_adapter_beside_the_model_is_refused_for_every_mode(peft, tmp_path):
    folder = save(tmp_path / "ck")
    settings = peft_library.LoraConfig(r=4, target_modules=["q_proj"])
    with quiet():  # peft asks transformers by a name that is going
        model = AutoModelForCausalLM.from_pretrained(folder)
        peft_library.get_peft_model(model, settings).save_pretrained(folder)
    with pytest.raises(InputError, match=r"adapter_config\.json lies beside the model; merge"):
        planned(model=str(folder), peft=peft)


@pytest.mark.full
def test_weights_that_are_not_finite_are_named(tmp_path, launcher):
    folder = save(tmp_path / "ck")
    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    for value in (float("nan"), float("inf")):
        find_checkpoint.cache_clear()
        tensors[name][3, 5] = value
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        record = measure(planned(model=str(folder)), 0, QUICK, launcher).record
        assert (record.status, record.reason.code) == ("unsupported", "weights_not_finite")
        assert name in record.reason.text


@pytest.mark.full
def test_zeros_are_noted_and_are_the_cause_of_a_silent_adapter(tmp_path, launcher):
    """A head of zeros lets no gradient through: no kernel is blamed for it."""
    folder = save(tmp_path / "ck")
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"].zero_()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    record = measure(planned(model=str(folder), peft="lora"), 0, QUICK, launcher).record
    assert record.status == "ok"
    assert [(n.code, "lm_head.weight" in n.text) for n in record.notes] == [("weights_zero", True)]
    assert [r.code for r in record.validity["numerics"].reasons] == ["weights_zero"]


def rewritten(folder, change):
    """The checkpoint with the tensors that ``change`` made of its own."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


UP = "model.layers.1.mlp.up_proj.weight"
FAULTS = [
    ("weights_zero", "model.norm.weight", lambda t: t["model.norm.weight"].zero_()),
    ("weights_huge", UP, lambda t: t[UP].mul_(1e30)),
    ("model_at_fault", None, lambda t: t["model.norm.weight"].fill_(1e-42)),
]


@pytest.mark.full
@pytest.mark.parametrize(("code", "name", "change"), FAULTS, ids=["norm", "huge", "tiny"])
def test_weights_that_stop_gradients_are_the_cause(code, name, change, tmp_path, launcher):
    """The reference runs them too: no kernel is blamed, and the record names the tensor."""
    folder = rewritten(save(tmp_path / "ck"), change)
    record = measure(planned(model=str(folder), peft="lora"), 0, QUICK, launcher).record
    assert record.status == "ok"
    assert {reason.code for reason in record.validity["numerics"].reasons} == {code}
    assert [(n.code, n.text.split()[0]) for n in record.notes] == ([(code, name)] if name else [])


@pytest.mark.full
def test_dropout_is_left_out_and_noted(tmp_path, launcher):
    """Policy and ref_model would differ by chance, and so would cell and reference."""
    folder = save(tmp_path / "ck", attention_dropout=0.5)
    plan = planned(model=str(folder), peft="lora")
    record = measure(plan, 0, QUICK, launcher).record
    assert record.validity["numerics"].ok
    assert [note.code for note in record.notes] == ["dropout_off"]
    (said,) = input_notes([plan])
    assert "attention_dropout is 0.5" in said


@pytest.mark.full
def test_sequences_beyond_the_trained_positions_are_measured_and_noted(tmp_path, launcher):
    folder = save(tmp_path / "ck", max_position_embeddings=8)
    record = measure(planned(model=str(folder)), 0, QUICK, launcher).record
    assert record.status == "ok"
    assert record.validity["numerics"].ok
    (note,) = record.notes
    assert note.code == "beyond_trained_positions"
    assert "seq_len is 16" in note.text
    assert "8 positions" in note.text


def test_files_that_change_after_the_door_make_nothing_up(tmp_path, launcher):
    """The load itself counts its tensors again."""
    folder = save(tmp_path / "ck")
    checkpoint = find_checkpoint(str(folder))
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CellError, match=r"model\.norm\.weight is missing") as caught:
        checkpoint.build(dtype=torch.float32)
    assert caught.value.code == "checkpoint_changed"
