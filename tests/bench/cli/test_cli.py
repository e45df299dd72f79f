"""The command line as a user meets it: real runs, and one clear sentence for bad input."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alignmeter.records.folder import load_folders

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
    assert "DPO versus PPO: peak memory of one step (cpu tensor storage)" in done.stdout
    assert done.stdout.count("separate, sequential") == 1
    assert "HTML  out/report.html\nCSV   out/report.csv" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert done.stderr.count("\nok ") + done.stderr.startswith("ok ") == 2
    assert len(load_folders([tmp_path / "out"]).records) == 2
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["matrix"] == "quick"
    assert run["axes"]["peft"] == ["lora"]
    again = alignmeter(*command, cwd=tmp_path)
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


@pytest.mark.full
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
    assert "the same command with --out out goes on" in said
    assert "Traceback" not in said
    assert not load_folders([tmp_path / "out"]).refused


@pytest.mark.full
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


@pytest.mark.full
def test_nothing_measured_is_exit_status_3(tmp_path):
    done = alignmeter(
        "run", *SMALL, "--method", "dpo", "--peft", "full", "--ref", "adapter-off", "--out", "o",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 3
    assert "use ref = resident" in done.stderr
    assert "Nothing could be measured" in done.stderr
    assert (tmp_path / "o" / "report.html").is_file()


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
def test_bad_input_is_one_sentence_and_exit_status_2(tmp_path, arguments, words):
    (tmp_path / "file").write_text("{}")
    (tmp_path / "empty").mkdir()
    row = {"prompt": "p", "chosen": "c", "rejected": "r"}
    rows = [row, {"prompt": "p", "chosen": "c"}]
    (tmp_path / "bad.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = alignmeter(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


def test_devices_lists_what_is_here_and_what_is_not(tmp_path):
    text = alignmeter("devices", cwd=tmp_path)
    assert text.returncode == 0
    assert "cpu " in text.stdout
    rows = json.loads(alignmeter("devices", "--json", cwd=tmp_path).stdout)
    assert [row["accelerator"] for row in rows] == ["cuda", "rocm", "xpu", "cpu"]
    for row in rows:
        assert row["devices"] or row["telemetry"]["reason"]


def test_dry_run_lists_cells_and_measures_nothing(tmp_path):
    done = alignmeter("run", "--dry-run", "--accelerator", "cpu,xpu", cwd=tmp_path)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 24
    assert list(tmp_path.iterdir()) == []
