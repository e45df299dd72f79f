"""`alignmeter plan --model`: a config.json and nothing else, wherever it lies."""

import json
import shutil
from pathlib import Path

import families
import pytest
from click.testing import CliRunner
from crossed import thinned

from alignmeter.architectures.checkpoint import find_checkpoint
from alignmeter.cli import cli, main

SMALL = ("--seq-len", "16", "--method", "dpo", "--data", "synthetic", "--for", "H100-SXM")


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    find_checkpoint.cache_clear()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub's cache, offline: a function that puts one file into a model's folder."""
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    store = tmp_path / "hub" / "models--lab--bare"
    (store / "refs").mkdir(parents=True)
    (store / "refs" / "main").write_text("c0ffee")
    (store / "snapshots" / "c0ffee").mkdir(parents=True)

    def put(file):
        shutil.copy(file, store / "snapshots" / "c0ffee" / "config.json")

    return put


def planned(model, *more):
    done = CliRunner().invoke(cli, ["plan", "--model", model, *SMALL, "--json", *more])
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.mark.full
@pytest.mark.parametrize("place", thinned(["hub", "file", "folder"], every=3))
def test_a_config_is_enough_wherever_it_lies(place, tmp_path, hub):
    """The matrix's three architectures give way to the model's own."""
    model = families.config_file(tmp_path, "Mixtral")
    if place == "folder":
        (tmp_path / "m").mkdir()
        model = str(shutil.move(model, tmp_path / "m" / "config.json").parent)
    elif place == "hub":
        hub(model)
        Path(model).unlink()
        model = "lab/bare"
    document, said = planned(model)
    cells = document["predictions"]
    assert [cell["cell"]["peft"] for cell in cells] == ["full", "lora"]
    assert {cell["cell"]["architecture"] for cell in cells} == {"mixtral"}
    assert "config without weights" in said
    assert said.count("not planned") == 1
    assert "experts in one tensor" in said


def test_without_a_network_one_sentence_says_so(hub, monkeypatch, capfd):
    monkeypatch.setattr("sys.argv", ["alignmeter", "plan", "--model", "lab/other", *SMALL])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capfd.readouterr().err
    assert ended.value.code == 2
    assert "the hub cannot be reached from here; give a folder" in " ".join(said.split())
    assert "Traceback" not in said
