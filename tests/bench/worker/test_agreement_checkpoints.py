"""The agreement check on checkpoints: what is read agrees with the reference that reads it too."""

import pytest
import torch
from crossed import crossed
from saved_checkpoints import CONFIGS, save

from alignmeter.registry import PEFT_MODES
from alignmeter.session.findings.bands import compare
from alignmeter.session.resolve import resolve_cell
from alignmeter.worker.agreement import is_rounded, make_reference
from alignmeter.worker.workload import Workload

FILES = {
    "tied": {"tie_word_embeddings": True},
    "untied": {"tie_word_embeddings": False},
    "shards": {"shard": "30KB"},
    "bf16": {"dtype": torch.bfloat16},
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A function that gives the folder of a checkpoint of that kind, saved like that."""
    folders = {}

    def folder(kind, files):
        if (kind, files) not in folders:
            root = tmp_path_factory.mktemp("agreement")
            folders[kind, files] = save(root / kind, kind, **FILES[files])
        return folders[kind, files]

    return folder


@pytest.mark.parametrize(
    *crossed(kind=CONFIGS, files=FILES, peft=PEFT_MODES, precision=["fp32", "bf16"])
)
def test_a_checkpoint_agrees_with_its_reference(kind, files, peft, precision, saved):
    axes = {"accelerator": "cpu", "data": "synthetic", "seq_len": 16, "kernels": "custom"}
    folder = str(saved(kind, files))
    cell = resolve_cell({**axes, "model": folder, "peft": peft, "precision": precision}).cell
    reference = make_reference(cell, 0, None, is_rounded(cell))
    load = Workload(cell, 0)
    load.build()
    observed = load.agreement(reference.rollouts)
    signals = compare(observed.signals, reference, cell)
    assert [signal.name for signal in signals if not signal.agrees] == []
    assert observed.silent_adapters == []
