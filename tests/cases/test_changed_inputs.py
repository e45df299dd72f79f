"""Inputs that were in order at the door and are others when a worker comes to them."""

import json
import math
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from saved_checkpoints import save

from alignmeter.architectures.checkpoint import find_checkpoint
from alignmeter.batches import share_rows
from alignmeter.errors import CellError, InputError
from alignmeter.records.reasons import Code
from alignmeter.records.record import Reason
from alignmeter.records.reference import Reference, cached_references
from alignmeter.session import Settings, measure
from alignmeter.session.findings.numerics import blame_failure
from alignmeter.session.launcher import Launcher
from alignmeter.session.resolve import resolve_cell
from alignmeter.worker.agreement import make_reference
from alignmeter.worker.failures import classified
from alignmeter.worker.messages import Observed
from alignmeter.worker.workload import Workload

QUICK = Settings(steps=1, warmup=1, seed=0, timeout_s=120)
AXES = {"accelerator": "cpu", "data": "synthetic", "seq_len": 16}
SHARD = "model-00002-of-00004.safetensors"
PROMPT = "What is the longest river of the world, please?"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """References of changed checkpoints would be those of the others' digests for ever."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def launcher():
    with Launcher() as launcher:
        launcher.begin_round(0)
        yield launcher


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    """Two checkpoints whose files have the same names and headers."""
    root = tmp_path_factory.mktemp("sharded")
    return [save(root / str(seed), shard="200KB", seed=seed) for seed in (7, 9)]


@pytest.fixture
def folder(sharded, tmp_path):
    return shutil.copytree(sharded[0], tmp_path / "ck")


def planned(**axes):
    found = resolve_cell({**AXES, **axes})
    assert found.unsupported is None
    return found


def removed(folder, other):
    (folder / SHARD).unlink()


def replaced(folder, other):
    shutil.copy(other / SHARD, folder)


def cut_off(folder, other):
    os.truncate(folder / SHARD, (folder / SHARD).stat().st_size // 2)


def a_folder(folder, other):
    removed(folder, other)
    (folder / SHARD).mkdir()


def gone(folder, other):
    shutil.rmtree(folder)


def another_config(folder, other):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-5}))


CHANGES = {
    removed: f"{SHARD} is not there",
    replaced: "its files are others than before the run",
    cut_off: f"{SHARD} is not a safetensors file, cut off or damaged",
    a_folder: f"{SHARD} is a folder",
    gone: "the folder is gone",
    another_config: "its files are others than before the run",
}


def sentence(call):
    with pytest.raises(CellError) as caught:
        call()
    assert (caught.value.status, caught.value.code) == ("crashed", "checkpoint_changed")
    assert len(caught.value.text) <= 300
    return caught.value.text


@pytest.mark.parametrize("change", CHANGES)
def test_a_checkpoint_that_changed_since_the_door_is_not_opened(change, folder, sharded):
    cell = planned(model=str(folder)).cell
    change(folder, sharded[1])
    for of_worker in (lambda: Workload(cell, 0), lambda: make_reference(cell, 0, None, False)):
        find_checkpoint.cache_clear()  # a worker is a process of its own
        said = sentence(of_worker)
        assert said.startswith(f"--model {folder}: ")
        assert CHANGES[change] in said


@pytest.mark.parametrize("change", CHANGES)
def test_nor_is_one_that_changes_while_it_is_read(change, folder, sharded):
    load = Workload(planned(model=str(folder)).cell, 0)
    change(folder, sharded[1])
    sentence(load.build)


@pytest.mark.full
def test_the_record_says_so_and_no_reference_is_kept_of_it(folder, sharded, launcher):
    plan = planned(model=str(folder), peft="lora")
    replaced(folder, sharded[1])
    record = measure(plan, 0, QUICK, launcher).record
    assert (record.status, record.reason.code) == ("crashed", "checkpoint_changed")
    assert not list(cached_references().glob("*.json"))


@pytest.mark.exhaustive
def test_workers_ask_no_hub_for_what_their_parent_fetched(folder, monkeypatch, launcher):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(folder))
    record = measure(planned(model="organisation/name", peft="lora"), 0, QUICK, launcher).record
    assert record.status == "ok"
    assert record.cell.model == "organisation/name"


@pytest.mark.full
def test_data_that_change_after_the_door_change_no_figure(tmp_path, launcher):
    rows = [{"prompt": PROMPT, "chosen": f"The Nile, {i}.", "rejected": "No."} for i in range(4)]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    plan = planned(data=str(path), seq_len=32, kernels="stock")
    before = measure(plan, 0, QUICK, launcher).record
    path.write_text("{")
    after = measure(plan, 1, QUICK, launcher).record
    path.unlink()
    without = measure(plan, 2, QUICK, launcher).record
    assert [r.status for r in (before, after, without)] == ["ok"] * 3
    assert before.numerics.losses == after.numerics.losses == without.numerics.losses


@pytest.mark.full
def test_rows_that_a_tidier_took_are_one_sentence_without_a_place_in_the_code(tmp_path, launcher):
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": PROMPT, "chosen": f"The Po, {i}.", "rejected": "No."} for i in range(4)]
    path.write_text("\n".join(map(json.dumps, rows)))
    plan = planned(data=str(path), seq_len=32, kernels="stock")
    share_rows(plan.cell).texts.unlink()
    record = measure(plan, 0, QUICK, launcher).record
    assert (record.status, record.reason.code) == ("crashed", "input_unusable")
    said = record.reason.text
    assert said.endswith("keep tidiers of TMPDIR away from it")
    assert str(path) in said
    assert "line" not in said
    assert len(said) <= 300


@pytest.mark.full
def test_an_input_that_the_parent_cannot_share_costs_its_cell_and_not_the_run(
    tmp_path, launcher, monkeypatch
):
    def full(*_, **__):
        raise InputError("pairs.npy: cannot be written: No space left on device")

    plan = planned(kernels="stock")
    monkeypatch.setattr("alignmeter.session.replicate.share_rows", full)
    record = measure(plan, 0, QUICK, launcher).record
    assert (record.status, record.reason.code) == ("crashed", "input_unusable")
    assert record.reason.text == "pairs.npy: cannot be written: No space left on device"


def test_the_words_of_torch_for_probabilities_that_are_none():
    with pytest.raises(RuntimeError) as caught:
        torch.multinomial(torch.tensor([[math.nan, 1.0]]), 1)
    status, code, text = classified(caught.value)
    assert (status, code) == ("crashed", "non_finite_loss")
    assert text == "a rollout could not be sampled: the policy's probabilities are not finite"


def overflowing(folder):
    """Products of the last norm and the head are beyond fp32."""
    tensors = load_file(folder / "model.safetensors")
    for name in ("model.norm.weight", "lm_head.weight"):
        tensors[name] = tensors[name] * 1e30
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("axes", [{"kernels": "stock"}, {"peft": "lora"}])
def test_ppo_on_weights_that_overflow_blames_the_weights(axes, tmp_path, launcher):
    folder = overflowing(save(tmp_path / "ck"))
    record = measure(planned(method="ppo", model=str(folder), **axes), 0, QUICK, launcher).record
    assert (record.status, record.reason.code) == ("crashed", "weights_huge")
    assert record.reason.text.startswith("a rollout could not be sampled: ")
    assert "lm_head.weight and 1 more beyond 65504" in record.reason.text


LOST = Reason(code=Code.NON_FINITE_LOSS, text="no sample")
HUGE = Reason(code=Code.WEIGHTS_HUGE, text="lm_head.weight beyond 65504")
FINE = Reference(signals={"loss": [0.1]}, rollouts=[])
SEEN = Observed(signals={"loss": [0.1]}, rollouts=[], silent_adapters=[])
PLAIN, OTHER = {"kernels": "stock"}, {"kernels": "custom"}


@pytest.mark.parametrize(
    ("axes", "observed", "reference", "failure", "notes", "code"),
    [
        (OTHER, None, None, "non_finite_loss", [HUGE], "weights_huge"),
        (OTHER, None, None, "non_finite_loss", [], "model_at_fault"),
        (OTHER, None, None, "timeout", [], "non_finite_loss"),
        (OTHER, None, None, "timeout", [HUGE], "weights_huge"),
        (OTHER, None, FINE, None, [HUGE], "non_finite_loss"),  # the operators, then
        (PLAIN, None, None, None, [], "model_at_fault"),
        (PLAIN, None, None, None, [HUGE], "weights_huge"),
        (PLAIN, SEEN, None, None, [], "non_finite_loss"),  # a later step, of which nothing is known
        (OTHER, SEEN, FINE, None, [HUGE], "weights_huge"),
        ({"model": "random"}, None, None, "non_finite_loss", [], "non_finite_loss"),
    ],
)
def test_whose_fault_it_is_that_nothing_can_be_sampled(
    axes, observed, reference, failure, notes, code, sharded
):
    cell = planned(**{"model": str(sharded[0]), "method": "ppo", **axes}).cell
    reason = blame_failure(cell, LOST, observed, reference, failure, notes)
    assert reason.code == code
    assert reason.text.startswith("no sample")
