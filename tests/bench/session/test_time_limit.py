"""The time limit: what was asked for, or 600 s and what large models take to build."""

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from alignmeter.capacity.attempt import look_at
from alignmeter.cells.settings import Settings
from alignmeter.errors import CellError
from alignmeter.session import Planned, measure
from alignmeter.session.time_limit import time_limit_s

DRAWN_PER_S, READ_PER_S = 25e6, 200e6


@pytest.mark.parametrize("size", ["tiny", "370m"])
@pytest.mark.parametrize("accelerator", ["cpu", "cuda"])
def test_small_models_are_built_within_it(size, accelerator, make_cell):
    """At most 500 million weights in four models: 80 s."""
    assert time_limit_s(make_cell(size=size, accelerator=accelerator), Settings()) == 600


def test_it_knows_the_size(make_cell):
    """Llama-3-8B has 8030 million weights, 1487 million with two of its layers: four such slices
    for the agreement check take 238 s, four whole models 1285 s where the host draws them.
    """
    on_a_gpu = time_limit_s(make_cell(size="8b", accelerator="cuda"), Settings())
    on_a_cpu = time_limit_s(make_cell(size="8b", accelerator="cpu"), Settings())
    assert on_a_gpu == round(600 + 4 * 1_486_901_248 / DRAWN_PER_S) == 838
    assert on_a_cpu == round(600 + 4 * (1_486_901_248 + 8_030_261_248) / DRAWN_PER_S) == 2123


def test_a_checkpoint_is_known_by_its_bytes(make_cell, tmp_path):
    config = LlamaConfig(
        vocab_size=300, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=48, pad_token_id=0,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "m")
    cell = make_cell(model=str(tmp_path / "m"))
    assert time_limit_s(cell, Settings()) == 600
    with (tmp_path / "m" / "model.safetensors").open("ab") as file:
        file.truncate(int(30 * READ_PER_S))  # sparse: 6 GB in name
    other = make_cell(model=str(tmp_path / "m"), seq_len=17)
    assert time_limit_s(other, Settings()) == 630


@pytest.mark.parametrize("size", ["tiny", "8b"])
def test_what_was_asked_for_wins(size, make_cell):
    assert time_limit_s(make_cell(size=size), Settings(timeout_s=600.0)) == 600
    assert time_limit_s(make_cell(size=size), Settings(timeout_s=7.0)) == 7


class Hanging:
    """Starts workers that end at their limit, and notes it."""

    pid, start_s = 1, 0.0

    def __init__(self):
        self.limits = []

    def start(self):
        return self

    def start_for(self, *_):
        return self

    def kill(self):
        """Nothing runs."""

    def call(self, verb, *_, timeout_s):
        self.limits.append(timeout_s)
        raise CellError("timeout", "timeout", "time limit")


@pytest.mark.parametrize(("asked", "limit"), [(None, 838), (50.0, 50)])
def test_workers_of_replicates_references_and_searches_have_it(
    asked, limit, make_cell, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cell, workers = make_cell(size="8b", accelerator="cuda"), Hanging()
    settings = Settings(timeout_s=asked, sample_hz=0.0)
    record = measure(Planned(cell=cell, unsupported=None), 0, settings, workers).record
    with pytest.raises(CellError):
        look_at(cell, settings, workers)
    assert [round(found) for found in workers.limits] == [limit] * 3
    assert f"{limit} s; raise it with --timeout" in record.reason.text
    assert torch.get_default_dtype() == torch.float32
