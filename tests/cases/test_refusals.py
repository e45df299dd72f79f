"""Inputs that cannot be taken as they are: one sentence each, before anything runs."""

import errno
import importlib
import json
import os
from pathlib import Path

import click
import msgspec
import pytest
from huggingface_hub import errors as hub_errors
from saved_checkpoints import save

from alignmeter.accelerators import device_or_host
from alignmeter.accelerators.provenance import collect
from alignmeter.architectures.checkpoint import find_checkpoint
from alignmeter.batches import data_digest
from alignmeter.batches.preferences import read_preferences
from alignmeter.cells.matrix import read_matrix, read_overrides
from alignmeter.cli import cli
from alignmeter.cli.ending import run_to_end
from alignmeter.errors import InputError
from alignmeter.records.folder import check_writable, load_folders

ROW = {"prompt": "p", "chosen": "c", "rejected": "r"}
LINE = json.dumps(ROW)


def refusal(call, *arguments):
    with pytest.raises(InputError) as caught:
        call(*arguments)
    assert len(str(caught.value)) <= 300
    assert "\n" not in str(caught.value)
    return str(caught.value)


TWICE = {
    "chosen": LINE[:-1] + ', "chosen": "d"}',
    "role": LINE.replace('"c"', '[{"role": "user", "role": "assistant", "content": "c"}]'),
    "id": LINE[:-1] + ', "meta": [{"of": {"id": 1, "id": 1}}]}',
}


@pytest.mark.parametrize("key", TWICE)
@pytest.mark.parametrize("kind", ["jsonl", "json", "lines.json"])
def test_a_key_that_an_object_has_twice_is_refused_by_row_and_name(key, kind, tmp_path):
    """The last value would be taken without a word, and any reader may take the first."""
    path = tmp_path / f"rows.{kind}"
    rows = [LINE, LINE, TWICE[key], TWICE[key]]
    path.write_text(f"[{', '.join(rows)}]" if kind == "json" else "\n".join(rows))
    place = "row 3" if kind == "json" else "line 3"
    assert refusal(data_digest, str(path)) == (
        f"{path}, {place}: {key!r} is there twice in one object; keep one of them"
    )


def test_a_key_in_two_objects_of_a_row_is_none_of_these(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({**ROW, "meta": [{"id": 1}, {"id": 2}]}))
    assert len(read_preferences(str(path))[0]) == 1


def test_mapped_columns_spell_a_field_as_it_is_before_another_spelling(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"question": "p", **ROW, "Chosen": "another"}))
    (pair,) = read_preferences(str(path), "prompt=question")[0]
    assert pair.chosen == "c"


MATRIX = 'schema = 1\n[defaults]\ndata = "synthetic"\n'


def test_a_matrix_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "m.toml"
    path.write_text(MATRIX, encoding="utf-8-sig")
    assert read_matrix(path).defaults == {"data": ("synthetic",)}


def test_a_matrix_in_another_encoding_is_told_which_is_right(tmp_path):
    path = tmp_path / "m.toml"
    path.write_text(MATRIX, encoding="utf-16")
    assert refusal(read_matrix, path) == (
        f"{path}: not UTF-8 text (invalid start byte at byte 0); save it as UTF-8"
    )


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A function that makes empty files in the working directory."""
    monkeypatch.chdir(tmp_path)
    return lambda *names: [Path(name).touch() for name in names]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a,b.jsonl", ("a,b.jsonl",)),
        ("x.jsonl,a,b.jsonl", ("x.jsonl", "a,b.jsonl")),
        ("a,b.jsonl, synthetic", ("a,b.jsonl", "synthetic")),
        ("packaged,x.jsonl", ("packaged", "x.jsonl")),
    ],
)
def test_a_path_may_hold_a_comma(text, values, files):
    files("a,b.jsonl", "x.jsonl")
    assert read_overrides({"data": text})["data"] == values


def test_a_text_that_is_one_path_and_two_is_refused(files):
    files("a,b.jsonl", "a", "b.jsonl")
    assert refusal(read_overrides, {"data": "synthetic,a,b.jsonl"}) == (
        "--data: 'a,b.jsonl' is one path and 2 paths with commas between them; rename one, or "
        "list them in a matrix file"
    )


def test_words_of_an_axis_need_no_folder_that_can_be_searched(monkeypatch):
    def refused(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", refused)
    assert read_overrides({"data": "synthetic", "model": "random"}) == {
        "data": ("synthetic",), "model": ("random",),
    }  # fmt: skip


def hub_error(kind):
    return kind.__new__(kind)  # most want the answer of a server


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (hub_error(hub_errors.LocalEntryNotFoundError), "cannot be reached from here; "),
        (hub_error(hub_errors.OfflineModeIsEnabled), "hf download organisation/withheld"),
        (hub_error(hub_errors.GatedRepoError), "to those who accepted its terms; "),
        (hub_error(hub_errors.RepositoryNotFoundError), "has none of that name, or a private one"),
        (OSError("disk\nfull"), "the hub did not give it (OSError: disk full)"),
    ],
)  # fmt: skip
def test_what_the_hub_does_not_give_is_one_sentence_without_a_bar(error, words, monkeypatch, capfd):
    import sys

    def download(*_, **__):
        sys.stderr.write("Fetching 8 files: 0%\n")
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    said = refusal(find_checkpoint, "organisation/withheld")
    assert said.startswith("--model organisation/withheld: no such folder, and the hub ")
    assert words in said
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_of_a_checkpoint_that_may_not_be_read_is_not_called_damaged(
    name, tmp_path, monkeypatch
):
    folder = save(tmp_path / "ck")
    plain = Path.open

    def opened(path, *arguments, **keywords):
        if path.name == name:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return plain(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "open", opened)
    said = refusal(find_checkpoint, str(folder))
    assert f"{name} cannot be read: Permission denied" in said
    assert "damaged" not in said


def test_a_folder_of_records_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    """Its records would be missing from every comparison without a word."""
    (tmp_path / "mine" / "locked").mkdir(parents=True)
    plain = os.scandir

    def listed(path):
        if str(path).endswith("locked"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return plain(path)

    monkeypatch.setattr(os, "scandir", listed)
    assert load_folders([tmp_path]).refused == [
        f"{tmp_path / 'mine' / 'locked'}: cannot be read: Permission denied"
    ]


@pytest.mark.parametrize(
    ("code", "said"),
    [(errno.EACCES, "Permission denied"), (errno.ENOSPC, "No space left on device")],
)
def test_what_the_machine_refuses_at_a_place_is_no_fault_of_ours(code, said, capsys, monkeypatch):
    @click.command()
    def command():
        raise OSError(code, os.strerror(code), "x/y")

    monkeypatch.setattr("sys.argv", ["alignmeter"])
    assert run_to_end(command) == 2
    assert capsys.readouterr().err == f"Error: x/y: {said}; correct that, or give another place\n"


def test_what_is_written_last_is_tried_first(tmp_path):
    check_writable(tmp_path / "new" / "r.json")
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").touch()
    assert "there is a file where a folder is wanted" in refusal(
        check_writable, tmp_path / "file" / "r.json"
    )
    assert "there is a folder of that name" in refusal(check_writable, tmp_path / "new")


@pytest.mark.parametrize(
    ("command", "module", "work"),
    [
        (["cell", "--accelerator", "cpu", "--out", "file/x"], "cell", "_measured"),
        (["plan", "quick", "--out", "file/x"], "plan", "_predicted"),
        (["kernels", "--out", "file/x"], "kernels", "_compiled"),
    ],
)
def test_a_result_that_could_not_be_written_is_not_worked_for(
    command, module, work, files, monkeypatch
):
    files("file")

    def worked(*_):
        raise AssertionError("work was done that cannot be kept")

    monkeypatch.setattr(importlib.import_module(f"alignmeter.cli.{module}"), work, worked)
    said = refusal(lambda: cli.main(command, standalone_mode=False))
    assert said.startswith("file/x")
    assert said.endswith("a folder is wanted; give another name")


def test_arguments_and_variables_that_are_no_text_make_a_record_all_the_same(monkeypatch):
    """Python has their bytes as lone surrogates, which no JSON can hold."""
    monkeypatch.setattr("sys.argv", ["alignmeter", "cell", "--out", "\udcff"])
    monkeypatch.setenv("OMP_PLACES", "\udcff")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "\udcff")
    found = collect(device_or_host("cpu"), 1)
    assert (found.command, found.environment["OMP_PLACES"]) == (
        r"alignmeter cell --out '\udcff'", r"\udcff",
    )  # fmt: skip
    assert found.placement["CUDA_VISIBLE_DEVICES"] == r"\udcff"
    assert msgspec.json.encode(found)


def test_a_list_of_chips_that_names_none_is_refused():
    said = refusal(lambda: cli.main(["plan", "quick", "--for", " ,"], standalone_mode=False))
    assert said == "--for names no chip; give one such as H100-SXM, or leave it out for all"


def test_a_line_that_is_no_json_says_where_in_it(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{LINE}\n{LINE[:-1]}")
    assert refusal(data_digest, str(path)) == (
        f"{path}, line 2: not valid JSON: Expecting ',' delimiter at character {len(LINE)}"
    )


@pytest.mark.parametrize("value", ["x" * 5000, "a\nb\x1b[31mc", "\u202ex", "\udcff"])
@pytest.mark.parametrize(
    "arguments",
    [["run", "--dry-run", "--method"], ["run"], ["report"], ["history"], ["--"], ["plan", "--for"],
     ["kernels", "--dtypes"]],
)  # fmt: skip
def test_whatever_is_quoted_a_sentence_has_its_end_and_can_be_seen(
    arguments, value, capsys, monkeypatch
):
    monkeypatch.setattr("sys.argv", ["alignmeter", *arguments, value])
    assert run_to_end(cli) == 2
    *_, said = capsys.readouterr().err.splitlines()
    assert said.startswith("Error: ")
    assert len(said.removeprefix("Error: ")) <= 300
    assert said.isprintable()
