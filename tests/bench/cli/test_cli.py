"""The command line as a user meets it: real runs, and one clear sentence for bad input."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import msgspec
import pytest
from made_records import make_record

from alignmeter.cells.matrix import packaged_names
from alignmeter.cli import main
from alignmeter.cli.dry_run import list_cells
from alignmeter.cli.progress import Remaining
from alignmeter.cli.run import run
from alignmeter.records.folder import load_folders, write_record
from alignmeter.records.record import Timing
from alignmeter.runs.past import seconds_before
from alignmeter.session import Planned

SMALL = [
    "--architecture",
    "llama",
    "--seq-len",
    "16",
    "--data",
    "synthetic",
    "--accelerator",
    "cpu",
]


def alignmeter(*arguments, cwd):
    return subprocess.run(
        [Path(sys.executable).parent / "alignmeter", *map(str, arguments)],
        capture_output=True, text=True, cwd=cwd, check=False, timeout=200,
    )  # fmt: skip


def test_run_measures_reports_and_resumes(tmp_path):
    command = ["run", *SMALL, "--peft", "lora", "--steps", "3", "--out", "out"]
    done = alignmeter(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "DPO versus PPO: peak memory of one step (CPU tensor storage)" in done.stdout
    assert done.stdout.count("separate, sequential") == 1
    assert "HTML  out/report.html\nCSV   out/report.csv" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert done.stderr.count("\nok ") + done.stderr.startswith("ok ") == 2
    assert len(load_folders([tmp_path / "out"]).records) == 2
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["matrix"] == "quick"
    assert run["axes"]["peft"] == ["lora"]
    # Beside other tests the host is busy, and what that spoils would be measured again.
    again = alignmeter(*command, "--no-retry-invalid", cwd=tmp_path)
    assert again.returncode == 0
    assert again.stderr.count("already there") == 2
    report = alignmeter("report", "out", "--out", "r.html", "--csv", "r.csv", cwd=tmp_path)
    assert report.returncode == 0, report.stderr
    assert (tmp_path / "r.csv").read_text().count("\n") == 3
    (tmp_path / "out" / "foreign.json").write_text("{}")
    partial = alignmeter("report", "out", "--out", "p.html", cwd=tmp_path)
    assert partial.returncode == 2
    assert "foreign.json: schema_version is None" in partial.stderr
    assert (tmp_path / "p.html").is_file()


@pytest.mark.exhaustive
def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(tmp_path):
    process = subprocess.Popen(
        [Path(sys.executable).parent / "alignmeter", "run", *SMALL, "--architecture", "mamba",
         "--seq-len", "64", "--out", "out"],
        stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        # A test run that a shell started in the background hands down an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "out").glob("*.r0.json"))) < 1:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "To go on: the same command with --out out" in said
    assert "Traceback" not in said
    assert not load_folders([tmp_path / "out"]).refused


@pytest.mark.exhaustive
def test_cell_writes_one_record_that_its_own_spec_repeats(tmp_path):
    done = alignmeter("cell", *SMALL, "--steps", "1", "--out", "a", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / done.stdout.strip()).read_text())
    (tmp_path / "spec.json").write_text(json.dumps(record["cell"]))
    again = alignmeter(
        "cell", "spec.json", "--steps", "1", "--replicate", "3", "--out", "b", cwd=tmp_path
    )
    assert again.returncode == 0, again.stderr
    assert again.stdout.strip() == f"b/{record['cell']['id']}.r3.json"
    repeated = json.loads((tmp_path / again.stdout.strip()).read_text())
    assert repeated["numerics"] == record["numerics"]
    assert repeated["memory"]["allocated_peak_bytes"] == record["memory"]["allocated_peak_bytes"]
    (tmp_path / "spec.json").write_text(json.dumps({**record["cell"], "model_digest": "0"}))
    other = alignmeter("cell", "spec.json", cwd=tmp_path)
    assert other.returncode == 2
    assert "its axes make" in other.stderr


def test_where_nothing_can_be_measured_each_reason_is_said_once(tmp_path, monkeypatch, capsys):
    """Two cells without an adapter to switch off, and all cells of a device that is not here."""
    monkeypatch.chdir(tmp_path)
    impossible = ["--method", "dpo,ppo", "--peft", "full", "--ref", "adapter-off"]
    for arguments, sentence in (
        (impossible, "2 cells: full has no adapter to switch off"),
        (["--accelerator", "xpu"], "6 cells: xpu is not on this machine"),
    ):
        monkeypatch.setattr(sys, "argv", ["alignmeter", "run", *SMALL, *arguments, "--out", "o"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 3
        said = capsys.readouterr().err
        assert said.count(sentence) == 1
        assert said.endswith("Nothing can be measured.\n")
        assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--method", "dpoo"], "--method: 'dpoo' is not a value of method; known: sft, rm"),
        (["run", "nightly"], "neither a file nor a packaged matrix; known: bill, capacity, "),
        (["run", "--seq-len", "0"], "whole number of at least 4"),
        (["run", "--data", "none.jsonl"], "data file 'none.jsonl' does not exist"),
        (["run", "--data", "bad.jsonl"], "bad.jsonl, line 2: field 'rejected' is missing"),
        (["run", *SMALL, "--out", "file/below"], "file/below: cannot be written"),
        (["run", "--steps", "0"], "'--steps'"),
        (["cell", "--peft", "lora,full"], "one cell has one peft"),
        (["cell", "none.json"], "none.json: cannot be read"),
        (["cell", "file"], "file: not the `cell` object of a record"),
        (["cell", "file", "--peft", "lora"], "not both (peft)"),
        (["report", "nowhere"], "nowhere: no such folder"),
        (["report", "empty"], "no records in empty"),
        (["rnu"], "No such command 'rnu'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_sentence_and_exit_status_2(
    tmp_path, monkeypatch, capsys, arguments, words
):
    (tmp_path / "file").write_text("{}")
    (tmp_path / "empty").mkdir()
    row = {"prompt": "p", "chosen": "c", "rejected": "r"}
    rows = [row, {"prompt": "p", "chosen": "c"}]
    (tmp_path / "bad.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["alignmeter", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2, said
    assert words in " ".join(said.split())
    assert "Traceback" not in said
    assert not (tmp_path / "results").exists()


def test_the_command_itself_ends_with_its_status(tmp_path):
    """What is called in place of it elsewhere is all that it does."""
    done = alignmeter("report", "nowhere", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    wanted = "give a folder that `alignmeter run` wrote"
    assert done.stderr == f"Error: nowhere: no such folder; {wanted}\n"


def test_devices_lists_what_is_here_and_what_is_not(tmp_path):
    text = alignmeter("devices", cwd=tmp_path)
    assert text.returncode == 0
    assert "cpu " in text.stdout
    rows = json.loads(alignmeter("devices", "--json", cwd=tmp_path).stdout)
    assert [row["accelerator"] for row in rows] == ["cuda", "rocm", "xpu", "cpu"]
    for row in rows:
        assert row["devices"] or row["telemetry"]["reason"]


@pytest.mark.full
def test_dry_run_lists_cells_and_measures_nothing(tmp_path):
    command = "run", "--dry-run", "--no-plan", "--accelerator", "cpu,xpu"
    done = alignmeter(*command, cwd=tmp_path)
    assert done.returncode == 0
    *cells, time = done.stdout.splitlines()
    assert len(cells) == 24
    assert time.startswith("12 cells, 1 replicate each: time unknown")
    assert list(tmp_path.iterdir()) == []


def test_help_names_every_packaged_matrix():
    text = run.get_help(click.Context(run))
    packaged = re.search(r"Packaged: (.*?)\.", text, re.DOTALL)
    assert packaged is not None
    assert packaged[1].replace(",", " ").split() == packaged_names()


def test_the_time_left_is_of_what_is_measured():
    """Ten replicates of 20 s after ninety that were there: 200 s, whatever the ninety took."""
    now = 0.0
    remaining = Remaining(lambda: now)
    remaining.expects(10)
    for _ in range(90):
        remaining.begins()
    assert remaining.seconds() is None
    for left in range(9, -1, -1):
        remaining.begins()
        now += 20.0
        remaining.ends()
        remaining.begins()
        assert remaining.seconds() == pytest.approx(20.0 * left)
    now += 5.0
    assert remaining.seconds() == 0.0


def test_a_dry_run_knows_what_cells_took_here(tmp_path, monkeypatch, capsys):
    """4 s of start and 1 s of building, two warmup steps and three of 2 s each."""
    record = make_record()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("platform.node", lambda: "here")
    timing = Timing(
        worker_start_s=4.0, build_s=1.0, warmup_s=[2.0] * 2, step_s=[2.0] * 3, median_s=2.0
    )
    for number, host in enumerate(("here", "there")):
        place = msgspec.structs.replace(record.provenance, host=host)
        write_record(
            tmp_path / "results" / str(number),
            msgspec.structs.replace(record, timing=timing, provenance=place),
        )
    cell, other = record.cell, make_record(batch=9).cell
    assert seconds_before([cell.id, other.id], tmp_path.glob("results/*")) == {cell.id: 15.0}
    plan = [Planned(cell=one, unsupported=None) for one in (cell, other)]
    list_cells(plan, 3, None)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{cell.id}  15 s before"
    assert said[-1] == (
        "2 cells, 3 replicates each: at least 45 s for 1 of them, unknown for 1, by records of "
        "this machine"
    )
