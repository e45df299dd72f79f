"""`alignmeter lab` as an operator meets it: real cells of this machine's CPU."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from lab_nights import MATRIX
from lab_stubs import StubLab
from made_history import replicate
from made_records import make_record

from alignmeter.cli.lab import lab
from alignmeter.errors import InputError
from alignmeter.lab.job import Job, Task, read_outcome, write_document
from alignmeter.records.folder import load_folders
from alignmeter.store.compact import compact

SAMPLE = Path(__file__).parents[3] / "docs" / "sample"
COMMAND = Path(sys.executable).with_name("alignmeter")
NIGHT = (
    MATRIX % ""
    + """
[[exclude]]
method = "dpo"
reason = "not tonight"
"""
)
LAB = """
schema = 1
matrix = "night.toml"
replicates = 1
retries = 0
[class.node]
accelerator = "cpu"
lane = "lab"
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "night.toml").write_text(NIGHT)
    (tmp_path / "LAB.toml").write_text(LAB)
    return tmp_path


def alignmeter(*words, cwd):
    return subprocess.run([COMMAND, *words], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.full
def test_a_night_from_run_to_report(folder):
    done = alignmeter("lab", "run", "LAB.toml", "--night", "n1", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "records: results/n1\n"
    (record,) = load_folders([folder / "results" / "n1"]).records
    assert (record.status, record.cell.lane, record.provenance.run) == ("ok", "lab", "n1")
    said = alignmeter("lab", "status", "LAB.toml", "--night", "n1", "--json", cwd=folder)
    (node,) = json.loads(said.stdout)
    assert (node["wanted"], node["recorded"], node["ok"], node["left_out"]) == (1, 1, 1, 1)
    done = alignmeter("lab", "collect", "LAB.toml", "--night", "n1", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert (folder / "results" / "n1" / "report.html").exists()


@pytest.mark.full
def test_the_news_of_a_night_have_an_exit_status_and_a_summary(folder):
    stub = StubLab(folder, replicate())
    more = "replicates = 1\nretries = 0\nnotify = 'news.txt'\nstore = 'store'"
    stub.lab(more, gpu='accelerator = "cuda"')
    stub.says(devices=[("cuda", 1)])
    done = alignmeter("lab", "nightly", "LAB.toml", "--night", "n1", "--site", "public", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "No news." in (folder / "results" / "n1" / "summary.md").read_text()
    assert json.loads((folder / "news.txt").read_text())["quiet"] is True
    assert (folder / "public" / "index.html").exists()
    assert len(load_folders([folder / "store"]).records) == 12
    stub.says(devices=[("cuda", 1)], refusing=["here0"])
    done = alignmeter("lab", "nightly", "LAB.toml", "--night", "n2", cwd=folder)
    assert done.returncode == 1, done.stderr
    assert "## Nodes refused: 1" in done.stdout
    assert "- gpu: 12 replicates" in done.stdout
    assert json.loads((folder / "news.txt").read_text())["quiet"] is False


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('notify = "ftp://a/b"', "LAB.toml: notify is 'ftp://a/b'; give a URL such as https://"),
        ('store = "store"', "part-000001.parquet: not a part of a store"),
    ],
)
def test_what_would_spoil_the_morning_is_refused_before_the_night(more, said, folder):
    compact(SAMPLE, folder / "store")
    next((folder / "store" / "records").rglob("*.parquet")).write_bytes(b"PAR1")
    (folder / "LAB.toml").write_text(f"{more}\n{LAB}")
    with pytest.raises(InputError, match=re.escape(said)):
        lab.main(["nightly", str(folder / "LAB.toml")], standalone_mode=False)
    assert not (folder / "results").exists()


@pytest.mark.full
def test_a_job_whose_files_are_others_on_its_node_says_so_and_goes_on(folder):
    right = make_record(method="sft", seq_len=16).cell
    wrong = make_record(method="dpo", seq_len=16).cell
    renamed = type(wrong)(**{**{f: getattr(wrong, f) for f in wrong.__struct_fields__}, "id": "x"})
    job = Job(
        name="a-0001", node_class="a", accelerator="cpu", run="n1", out=str(folder / "a"),
        folder=str(folder), tasks=[Task(cell=c, replicate=0) for c in (renamed, right)],
    )  # fmt: skip
    path = folder / "a-0001.job"
    write_document(path, job)
    done = alignmeter("cell", "--jobs", str(path), cwd=folder)
    assert done.returncode == 0, done.stderr
    outcome = read_outcome(path.with_suffix(".outcome"))
    assert list(outcome.failed) == ["x.r0"]
    assert outcome.ended is not None
    (record,) = load_folders([folder / "a"]).records
    assert record.cell == right


@pytest.mark.full
def test_a_node_that_is_not_what_it_has_to_be_measures_nothing(folder):
    cell = make_record(method="sft", seq_len=16).cell
    job = Job(
        name="a-0001", node_class="a", accelerator="cpu", run="n1", out=str(folder / "a"),
        folder=str(folder), tasks=[Task(cell=cell, replicate=0)], requires=["amdsmi"],
    )  # fmt: skip
    path = folder / "a-0001.job"
    write_document(path, job)
    done = alignmeter("cell", "--jobs", str(path), cwd=folder)
    assert done.returncode == 3
    assert "amdsmi: no telemetry library of that name answers" in done.stderr
    assert read_outcome(path.with_suffix(".outcome")).refused != []
    assert not list(folder.glob("a/*.json"))


@pytest.mark.full
def test_requirements_have_an_exit_status():
    done = alignmeter("devices", "--require", "cpu,disk", cwd=None)
    assert (done.returncode, done.stdout) == (0, "ready: cpu, disk\n")
    done = alignmeter("devices", "--require", "cuda,nvml", cwd=None)
    assert done.returncode == 1
    assert done.stderr.startswith("cuda: ")
    done = alignmeter("devices", "--require", "cpu,idel", cwd=None)
    assert (done.returncode, done.stdout) == (2, "")
    assert "nothing is called 'idel'; known: agreement, amdsmi, cool, cpu" in done.stderr


def test_a_lab_that_requires_what_nothing_is_called_starts_no_job(folder, monkeypatch, capsys):
    (folder / "LAB.toml").write_text(LAB + 'requires = ["disk", "nvlm"]\n')
    assert "LAB.toml: [class.node]: requires: nothing is called 'nvlm'" in _refused(
        ["run", "LAB.toml"], folder, monkeypatch, capsys
    )
    assert not (folder / "results").exists()


def _refused(words, folder, monkeypatch, capsys):
    """What a command says that ends with exit status 2."""
    from alignmeter.cli import main

    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["alignmeter", "lab", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["status", "LAB.toml"],
            "no `lab run` has been here; give its LAB.toml and --night",
        ),
        (["run", "LAB.toml", "--night", "../x"], "--night is '../x'; give a name of letters"),
        (["run", "LAB.toml", "--class", "b"], "there is no [class.b]; known: node"),
        (["run", "LAB.toml", "--no-wait"], "--no-wait leaves nobody to run local jobs"),
        (["run", "LAB.toml", "--devices", "0,0"], "--devices is '0,0'; give each number once"),
        (["run", "other.toml"], "other.toml: cannot be read: No such file"),
    ],
)
def test_wrong_input_is_one_sentence(folder, words, said, monkeypatch, capsys):
    assert said in _refused(words, folder, monkeypatch, capsys)
