"""Matrices: what they name lies beside them, exclusions are of cells, what is idle is told."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from alignmeter.batches import read_preferences
from alignmeter.cells import places
from alignmeter.cells.matrix import packaged_names, read_matrix
from alignmeter.errors import InputError
from alignmeter.records.folder import load_folders
from alignmeter.session.resolve import plan_matrix, resolve_cell

ROW = json.dumps({"prompt": "p" * 40, "chosen": "yes", "rejected": "no"}) + "\n"
TINY = ["--accelerator", "cpu", "--seq-len", "16", "--steps", "1", "--warmup", "1"]
HEAD = "schema = 1\n"


@pytest.fixture(autouse=True)
def no_places(monkeypatch):
    monkeypatch.setattr(places, "_PLACES", {})


def called(*arguments, cwd):
    command = [sys.executable, "-P", "-m", "alignmeter", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=280)


def planned_of(folder, text, overrides=None):
    (folder / "m.toml").write_text(HEAD + text)
    notes = []
    found = plan_matrix(read_matrix(folder / "m.toml"), overrides or {}, notes.append)
    return found, notes


EXCLUDED = [
    # what the exclusion says, which cells it is of
    ('kernels = "custom"', {"full", "lora"}),
    ('prompt_len = 32', {"full", "lora"}),
    ('accelerator = "cpu"', {"full", "lora"}),
    ('accelerator = "auto"', {"full", "lora"}),
    ('precision = "fp32"', {"full", "lora"}),
    ('data = "packaged"', {"full", "lora"}),
    ('method = "dpo"', {"full", "lora"}),
    ('ref = "resident"', {"full"}),
    ('ref = "adapter-off"', {"lora"}),
    ("lora_rank = 16", {"lora"}),
    ('peft = ["lora", "qlora"]\nkernels = ["stock", "custom"]', {"lora"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("says", "left_out"), EXCLUDED, ids=lambda v: v if isinstance(v, str) else ",".join(sorted(v))
)
def test_an_exclusion_is_of_cells_whose_defaults_are_filled_in(tmp_path, says, left_out):
    """The grid names PEFT modes alone: all else is a default, or follows from other axes."""
    text = f'[[grid]]\npeft = ["full", "lora"]\n[[exclude]]\n{says}\nreason = "not tonight"\n'
    found, notes = planned_of(tmp_path, text, {"accelerator": ("auto",)})
    assert notes == []
    assert {p.cell.peft for p in found if p.unsupported is not None} == left_out
    assert {p.unsupported.text for p in found if p.unsupported is not None} == {"not tonight"}


WITHOUT_EFFECT = [
    (
        '[[grid]]\npeft = "full"\n', {"lora_rank": (8,)},
        "--lora-rank changes nothing: it is for lora and qlora, and no cell here is of that kind",
    ),
    ("", {"lora_rank": (16,)}, "--lora-rank changes nothing: "),  # also at its default
    ("", {"ppo_epochs": (2,), "method": ("dpo", "sft")}, "--ppo-epochs changes nothing: it is for"),
    (
        '[defaults]\nquantiser = "nf4-double-64"\n[[grid]]\npeft = "lora"\n', {},
        "m.toml: [defaults]: quantiser changes nothing: it is for qlora",
    ),
    (
        '[[grid]]\nmethod = "ppo"\n[[grid]]\nmethod = "dpo"\nppo_epochs = 3\n', {},
        "m.toml: [[grid]] 2: ppo_epochs changes nothing: it is for ppo",
    ),
    (
        '[[grid]]\n[[exclude]]\nmethod = "ppo"\nlora_rank = [8, 16]\nreason = "x"\n', {},
        "m.toml: [[exclude]] 1 matches no cell: method = ppo, lora_rank = 8 or 16",
    ),
    (
        '[[exclude]]\nkernels = "vendor"\nreason = "x"\n', {"method": ("dpo",)},
        "m.toml: [[exclude]] 1 matches no cell: kernels = vendor",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "flags", "said"), WITHOUT_EFFECT, ids=lambda v: str(v)[:30])
def test_what_changes_no_cell_is_told_in_one_sentence(tmp_path, text, flags, said):
    _, notes = planned_of(tmp_path, text, {"accelerator": ("cpu",), **flags})
    assert len(notes) == 1
    assert said in notes[0]
    assert len(notes[0]) <= 300 + len(str(tmp_path))


WITH_EFFECT = [
    ("", {"lora_rank": (8,), "peft": ("full", "lora")}),  # one of the cells is enough
    # A flag took their effect: that is what flags are for.
    ('[[grid]]\npeft = "lora"\nlora_rank = 8\n', {"peft": ("full",)}),
    ('[[grid]]\nmethod = "ppo"\n[[exclude]]\nmethod = "ppo"\nreason = "x"\n', {"method": ("dpo",)}),
    ('[[grid]]\npeft = "lora"\n[[exclude]]\nlora_rank = 16\nreason = "x"\n', {"peft": ("full",)}),
]


@pytest.mark.parametrize(("text", "flags"), WITH_EFFECT)
def test_nothing_is_told_where_a_flag_or_a_key_counts(tmp_path, text, flags):
    assert planned_of(tmp_path, text, {"accelerator": ("cpu",), **flags})[1] == []


@pytest.mark.parametrize("name", packaged_names())
def test_packaged_matrices_have_no_key_without_effect(name):
    notes = []
    plan_matrix(read_matrix(name), {"accelerator": ("cpu",)}, notes.append)
    assert notes == []


def test_a_size_beside_a_checkpoint_is_told(tmp_path, monkeypatch):
    from alignmeter.cells.effects import flags_without_effect
    from alignmeter.cells.matrix import Choice

    cell = msgspec.structs.replace(resolve_cell({"accelerator": "cpu"}).cell, size="checkpoint")
    (said,) = flags_without_effect({"size": ("8b",)}, [(Choice(axes={"size": "8b"}), cell)])
    assert said == "--size changes nothing: it follows from another axis in every cell"


@pytest.mark.exhaustive
def test_every_command_tells_it_on_stderr(tmp_path):
    """And goes on: it is no error."""
    flags = ["--accelerator", "cpu", "--peft", "full", "--lora-rank", "8"]
    said = (
        "Note: --lora-rank changes nothing: it is for lora and qlora, and no cell here is of that "
        "kind\n"
    )
    (tmp_path / "m.toml").write_text(HEAD)
    run = called("run", "m.toml", *flags, "--dry-run", cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, said)
    plan = called("plan", "m.toml", *flags, "--for", "H100-SXM", cwd=tmp_path)
    assert (plan.returncode, plan.stderr) == (0, said)
    cell = called("cell", *flags, "--seq-len", 4, "--prompt-len", 4, cwd=tmp_path)
    assert cell.stderr.startswith(said)
    assert cell.returncode == 3


SUITE = 'MATRIX = "mine.toml"\ndef bench_x(cell):\n    cell.measure()\n'
INI = "[pytest]\naddopts = -p alignmeter.plugin --import-mode=importlib\n" \
    "python_files = bench_*.py\npython_functions = bench_*\n"  # fmt: skip


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """A suite, its matrix and that one's data in a folder below."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # of the tests, not of the suite
    (tmp_path / "pytest.ini").write_text(INI)
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "bench_x.py").write_text(SUITE)
    text = HEAD + '[[grid]]\ndata = "mine.jsonl"\nseq_len = 16\naccelerator = "cpu"\n'
    (tmp_path / "suites" / "mine.toml").write_text(text)
    (tmp_path / "suites" / "mine.jsonl").write_text(4 * ROW)
    return tmp_path


def collected(suite, cwd, *more):
    listing = ["-q", "--benchmark", "--collect-only", "-p", "no:cacheprovider"]
    places = ["-c", suite / "pytest.ini", "--rootdir", suite]
    command = [sys.executable, "-P", "-m", "pytest", *listing, *places, *more]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=280)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.exhaustive
def test_a_suites_matrix_and_a_matrix_data_lie_beside_the_file_that_names_them(suite):
    """s11: collected from anywhere, the same tests."""
    found = {
        where: collected(suite, where, suite / "suites" / "bench_x.py")
        for where in (suite, suite / "suites", Path("/"))
    }
    assert {status for status, _ in found.values()} == {0}, found
    ids = {next(line for line in out.splitlines() if "::" in line) for _, out in found.values()}
    assert len({i.partition("[")[2] for i in ids}) == 1
    assert "dpo-llama-tiny-full-cpu" in ids.pop()


@pytest.mark.full
def test_pytest_tells_what_changes_nothing(suite):
    status, out = collected(suite, suite, "suites/bench_x.py", "--lora-rank", "8")
    assert status == 0
    assert out.count("Note: --lora-rank changes nothing") == 1


@pytest.mark.exhaustive
def test_a_run_measures_and_resumes_from_any_folder(suite):
    """Records hold the path as it was written, and the same from wherever the command is called."""
    out = suite / "out"
    flags = ["--no-plan", "--no-retry-invalid", *TINY, "--out", out]
    first = called("run", "suites/mine.toml", *flags, cwd=suite)
    assert first.returncode == 0, first.stderr
    (record,) = load_folders([out]).records
    assert record.cell.data == "mine.jsonl"
    again = called("run", "mine.toml", *flags, cwd=suite / "suites")
    assert again.returncode == 0, again.stderr
    assert "(already there)" in again.stderr
    by_flag = called("run", "suites/mine.toml", "--data", "x/mine.jsonl", *flags, cwd=suite)
    assert by_flag.returncode == 2
    # On the command line it is relative to the working directory; another path is the same cell.
    by_flag = called("run", "suites/mine.toml", "--data", "suites/mine.jsonl", *flags, cwd=suite)
    assert "(already there)" in by_flag.stderr


@pytest.mark.exhaustive
def test_a_spec_finds_its_data_beside_it_here_or_where_it_is_told(suite):
    (suite / "elsewhere").mkdir()
    spec = suite / "elsewhere" / "spec.json"
    cell = resolve_cell({"accelerator": "cpu", "seq_len": 16, "prompt_len": 16,
                         "data": str(suite / "suites" / "mine.jsonl")}).cell  # fmt: skip
    spec.write_bytes(msgspec.json.encode(msgspec.structs.replace(cell, data="mine.jsonl")))
    here = called("cell", spec, "--out", "out", cwd=suite / "suites")
    told = called("cell", spec, "--data", "suites/mine.jsonl", "--out", "out", cwd=suite)
    for done in (here, told):  # found, and then unsupported, as no response fits
        assert (done.returncode, "leaves no room" in done.stderr) == (3, True), done.stderr
    lost = called("cell", spec, cwd=suite)
    assert lost.returncode == 2
    assert "mine.jsonl" in lost.stderr
    (suite / "elsewhere" / "mine.jsonl").write_text(5 * ROW)
    other = called("cell", spec, cwd=suite)
    assert other.returncode == 2
    assert "--data, --model, --reward and --teacher say where its own are" in other.stderr
    mixed = called("cell", spec, "--batch", "2", cwd=suite)
    assert mixed.stderr == "Error: give SPEC.json or axis options, not both (batch)\n"


def test_words_win_over_files_and_files_over_hub_ids(tmp_path, monkeypatch):
    """Everywhere: a file named like a word is given as ./packaged."""
    (tmp_path / "packaged").write_text(ROW)
    (tmp_path / "quick").write_text("no matrix")
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    found, _ = planned_of(tmp_path, 'defaults = {data = "packaged", accelerator = "cpu"}\n')
    assert found[0].cell.data_digest == resolve_cell({"accelerator": "cpu"}).cell.data_digest
    assert read_matrix("quick").folder is None
    assert read_matrix("quick", tmp_path).folder is None
    with pytest.raises(InputError, match="not valid TOML"):
        read_matrix("./quick")
    places.note_place("org/name", tmp_path)
    assert places.place_of("org/name") == str(tmp_path / "org" / "name")
    places.note_place("org/other", tmp_path)
    assert places.place_of("org/other") == "org/other"


def test_one_name_for_two_places_is_refused(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.jsonl").write_text(ROW)
        (tmp_path / name / "m.toml").write_text(HEAD + '[defaults]\ndata = "x.jsonl"\n')
    plan_matrix(read_matrix(tmp_path / "a" / "m.toml"), {"accelerator": ("cpu",)}, pytest.fail)
    assert len(read_preferences("x.jsonl")[0]) == 1
    with pytest.raises(InputError, match=r"'x.jsonl' would mean both .*a/x.jsonl and .*b/x.jsonl"):
        plan_matrix(read_matrix(tmp_path / "b" / "m.toml"), {}, pytest.fail)


def test_a_file_that_is_not_beside_its_matrix_is_named_with_the_folder(tmp_path, monkeypatch):
    """Also where the working directory has one of that name."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "x.jsonl").write_text(ROW)
    (tmp_path / "sub" / "m.toml").write_text(HEAD + '[defaults]\ndata = "x.jsonl"\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        read_matrix("sub/m.toml")
    assert str(caught.value) == (
        "sub/m.toml: [defaults]: data file 'x.jsonl' does not exist in sub, which paths in that "
        "file are relative to; give packaged, synthetic, lengths:hh, or a file or folder of "
        "JSON Lines, JSON, CSV or Parquet"
    )


@pytest.mark.parametrize("schema", ["2", "0", "true", "1.0", '"1"'])
def test_another_version_of_the_format_is_refused_by_name(tmp_path, schema):
    (tmp_path / "m.toml").write_text(f"schema = {schema}\n")
    with pytest.raises(InputError, match="this version reads schema = 1"):
        read_matrix(tmp_path / "m.toml")


def test_an_exclusion_is_of_the_file_however_its_path_is_written(tmp_path):
    (tmp_path / "d.jsonl").write_text(4 * ROW)
    for written in ("./d.jsonl", str(tmp_path / "d.jsonl"), f"../{tmp_path.name}/d.jsonl"):
        found, notes = planned_of(
            tmp_path,
            '[[grid]]\ndata = ["d.jsonl", "synthetic"]\nseq_len = 16\naccelerator = "cpu"\n'
            f'[[exclude]]\ndata = "{written}"\nreason = "no"\n',
        )
        assert [p.unsupported is None for p in found] == [False, True], written
        assert notes == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[grid]]\nmethod_of_training = 'dpo'\n", "nearest of "),
        (f"[[grid]]\n{'x' * 300} = 1\n", "is not an axis"),
        (f"[[grid]]\nlane = '{'x' * 300}'\n", "give at most 60 printable characters"),
        ("[[grid]]\nseq_len = 1000000000000000000000\n", "whole number from 4 to 134217728"),
        (f"[[grid]]\nbatch = 1{23 * '0'}\n", "whole number from 1 to 134217728"),
    ],
)
def test_what_no_axis_takes_is_one_short_sentence(tmp_path, text, words):
    (tmp_path / "m.toml").write_text(HEAD + text)
    with pytest.raises(InputError) as caught:
        read_matrix(tmp_path / "m.toml")
    said = str(caught.value).replace(str(tmp_path), "")
    assert words in said
    assert len(said) <= 300
    assert said.isprintable()


def test_a_long_reason_is_one_line(tmp_path):
    found, _ = planned_of(
        tmp_path,
        '[[grid]]\naccelerator = "cpu"\ndata = "synthetic"\n[[exclude]]\nmethod = "dpo"\n'
        f'reason = "{"so " * 200}\\n\\u001b[31mred"\n',
    )
    said = found[0].unsupported.text
    assert said.isprintable()
    assert len(said) <= 200


@pytest.mark.exhaustive
def test_without_docstrings_nothing_is_tried(tmp_path):
    command = [sys.executable, "-P", "-m", "alignmeter", "run", "--dry-run", "--accelerator", "cpu"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=100,
        env={**os.environ, "PYTHONOPTIMIZE": "2"},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "unset PYTHONOPTIMIZE" in done.stderr
