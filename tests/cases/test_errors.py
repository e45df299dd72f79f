"""How commands end: statuses, one sentence each, and nothing on stderr that is not theirs (s05)."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from crossed import thinned
from started_runs import start, wait_for_records

from alignmeter.records.folder import load_folders
from alignmeter.streams import keep, log_to, quiet

PLAN = ["plan", "quick", "--method", "dpo", "--architecture", "llama", "--peft", "lora"]
PLAN += ["--for", "H100-SXM"]
FAULTY = """
import sys
from alignmeter import cli
from alignmeter.cli import sizes, main
def fails(*arguments, **keywords):
    raise {error}
{place} = fails
sys.argv = {argv!r}
main()
"""


@pytest.fixture
def home(tmp_path):
    """Where this test's commands keep their log and their plans."""
    return {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"),
            "XDG_CACHE_HOME": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)}  # fmt: skip


def alignmeter(*arguments, cwd, env, **keywords):
    return subprocess.run(
        [sys.executable, "-P", "-m", "alignmeter", *map(str, arguments)],
        cwd=cwd, env=env, text=True, check=False, timeout=200,
        **{"capture_output": True, **keywords},
    )  # fmt: skip


def piped(line, *, cwd, env):
    """Status of ``alignmeter`` in a line of bash, and what was said on stderr."""
    command = f"{sys.executable} -P -m alignmeter"
    done = subprocess.run(
        ["/bin/bash", "-c", line.format(alignmeter=command)],
        cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    return done.stdout, done.stderr


@pytest.mark.full
@pytest.mark.parametrize(
    ("axes", "shapes", "reason"),
    [
        (["--batch", "2,512"], [(2, 64)], "62 of 77 prompts have 32 tokens or more, the batch"),
        pytest.param(
            ["--seq-len", "131072"],
            [],
            "0 of 77 prompts have 65536 tokens or more",
            marks=pytest.mark.exhaustive,
        ),
    ],
)
def test_a_cell_that_cannot_be_planned_is_a_row_and_the_others_are_planned(
    tmp_path, home, axes, shapes, reason
):
    done = alignmeter(*PLAN, *axes, "--json", cwd=tmp_path, env=home)
    assert done.returncode == (0 if shapes else 3)
    document = json.loads(done.stdout)
    cells = [row["cell"] for row in document["predictions"]]
    assert [(cell["batch"], cell["seq_len"]) for cell in cells] == shapes
    (left_out,) = document["not_planned"]
    assert reason in left_out["reason"]
    row, *last = done.stderr.splitlines()
    assert re.fullmatch(r"dpo-llama-tiny-lora-cuda-\S+: not planned: .*longer data", row)
    assert len(row) <= 300
    assert last == ([] if shapes else ["Nothing could be planned."])


@pytest.mark.exhaustive
def test_a_run_forecasts_what_it_can_and_measures_it(tmp_path, home):
    done = alignmeter(
        "run", "--method", "dpo", "--architecture", "llama", "--peft", "lora", "--kernels", "stock",
        "--seq-len", "64,131072", "--accelerator", "cpu", "--steps", "1", "--out", "out",
        cwd=tmp_path, env=home,
    )  # fmt: skip
    assert done.returncode == 0
    found = {r.cell.seq_len: r.status for r in load_folders([tmp_path / "out"]).records}
    assert found == {64: "ok", 131072: "unsupported"}
    rows = sorted(done.stderr.splitlines())
    assert [row.split()[0] for row in rows] == ["ok", "unsupported"]
    assert " 0 of 77 prompts have 65536 tokens or more" in rows[1]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("KeyError('missing')", "KeyError: 'missing'"),
        ("RuntimeError('one\\ntwo')", "RuntimeError: one"),
        ("AssertionError", "AssertionError"),
        ("MemoryError", "MemoryError"),
        ("RuntimeError('x' * 1000)", "RuntimeError: " + "x" * 117 + "..."),
        ("BrokenPipeError(32, 'Broken pipe')", "BrokenPipeError: [Errno 32] Broken pipe"),
        ("OSError(28, 'No space left on device')", "OSError: [Errno 28] No space left on device"),
    ],
)
def test_a_fault_of_ours_has_a_status_of_its_own_and_one_sentence(tmp_path, home, error, words):
    script = tmp_path / "faulty.py"
    place, argv = "cli.compare.callback", ["alignmeter", "compare", "a", "b"]
    script.write_text(FAULTY.format(place=place, error=error, argv=argv))
    done = subprocess.run(
        [sys.executable, "-P", script], env=home, cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 70
    (kept,) = tmp_path.glob("alignmeter-*.txt")
    assert done.stderr == (
        f"Error: {words}. This is a fault of alignmeter; please report it with {kept}\n"
    )
    assert kept.read_text().startswith("Traceback (most recent call last):")
    assert done.stdout == ""


def test_where_no_file_can_be_written_the_traceback_is_shown(tmp_path, home):
    script = tmp_path / "faulty.py"
    place = "cli.compare.callback"
    text = FAULTY.format(place=place, error="KeyError(1)", argv=["alignmeter", "compare", "a", "b"])
    nowhere = "import tempfile\ndef none(*a, **k): raise OSError(28, 'No space left on device')\n"
    script.write_text(nowhere + "tempfile.NamedTemporaryFile = none\n" + text)
    done = subprocess.run(
        [sys.executable, "-P", script], env=home, capture_output=True, text=True, check=False
    )
    assert done.returncode == 70
    said, *trace = done.stderr.splitlines()
    assert said.endswith("its traceback cannot be written (No space left on device):")
    assert trace[0].startswith("Traceback")


@pytest.mark.full
@pytest.mark.parametrize(
    "command", ["plan --help", pytest.param("sizes", marks=pytest.mark.exhaustive)]
)
def test_a_reader_that_has_seen_enough_is_no_error(tmp_path, home, command):
    line = f"{{alignmeter}} {command} | true; echo ${{{{PIPESTATUS[0]}}}}"
    out, said = piped(line, cwd=tmp_path, env=home)
    assert said == ""
    assert out in ("141\n", "0\n")  # 0: it was faster than the reader's end
    out, said = piped(line.replace("| true", "| (exec 0<&-; sleep 4)"), cwd=tmp_path, env=home)
    assert (out, said) == ("141\n", "")


@pytest.mark.exhaustive
def test_streams_that_are_closed_or_full(tmp_path, home):
    full = "Error: standard output cannot be written: No space left on device\n"
    for line, status, words in (
        ("{alignmeter} sizes >&-; echo $? >&2", 0, ""),
        ("{alignmeter} sizes >&- <&- 2>&-; echo $? >&2", 0, ""),
        ("{alignmeter} sizes >/dev/full; echo $? >&2", 2, full),
        ("{alignmeter} --version >/dev/full; echo $? >&2", 2, full),
        ("{alignmeter} rnu 2>/dev/full; echo $? >&2", 2, ""),
        ("{alignmeter} rnu 2>&-; echo $? >&2", 2, ""),
    ):
        assert piped(line, cwd=tmp_path, env=home) == ("", f"{words}{status}\n"), line


@pytest.mark.exhaustive
def test_what_libraries_print_is_in_the_log_of_the_run(tmp_path, home):
    """The workers import bitsandbytes, which says that a package is absent."""
    done = alignmeter(
        "run", "--method", "dpo", "--architecture", "llama", "--peft", "qlora", "--kernels",
        "stock", "--seq-len", "16", "--data", "synthetic", "--accelerator", "cpu", "--steps", "1",
        "--out", "out", cwd=tmp_path, env=home,
    )  # fmt: skip
    assert done.returncode == 0
    assert re.fullmatch(r"ok +dpo-llama-tiny-qlora-\S+\.r0 +\S+ \S+ +\S+ \S+\n", done.stderr)
    assert "kernels" in (tmp_path / "out" / "alignmeter.log").read_text()
    assert not (tmp_path / "state").exists()


NOISY = """
import subprocess, sys, warnings
from alignmeter.streams import separate, settle, tell
separate()
separate()
warnings.warn("of this process")
subprocess.run([sys.executable, "-c", "import os; os.write(2, b'of a child')"])
tell("a sentence")
settle()
warnings.warn("after the end")
"""


def noisy(cwd, env):
    done = subprocess.run(
        [sys.executable, "-P", "-c", NOISY], env=env, cwd=cwd, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "a sentence\n")


def test_other_commands_keep_it_below_the_users_state(tmp_path, home):
    noisy(tmp_path, home)
    log = tmp_path / "state" / "alignmeter" / "log" / "alignmeter.log"
    said = log.read_text()
    assert "of this process" in said
    assert said.endswith("of a child")
    noisy(tmp_path, home)
    assert log.read_text() == 2 * said
    log.write_text("x" * (1 << 20) + "x")
    noisy(tmp_path, home)
    assert log.read_text() == said


def test_a_home_that_cannot_be_written_costs_the_log_alone(tmp_path, home):
    (tmp_path / "state").write_text("no folder")
    noisy(tmp_path, home)


@pytest.mark.full
@pytest.mark.parametrize("command", thinned([
    ["report", "out", "--out", "r.html"], ["devices"], ["sizes"], ["compare", "out", "out"],
    ["history", "out"], ["run", "--dry-run"],
], every=6))  # fmt: skip
def test_a_command_that_goes_well_says_nothing_on_stderr(tmp_path, home, command):
    sample = Path(__file__).parents[2] / "docs" / "sample"
    (tmp_path / "out").symlink_to(sample)
    done = alignmeter(*command, cwd=tmp_path, env=home)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.full
def test_a_run_that_is_ended_says_how_to_go_on_and_nothing_else(tmp_path):
    process = start(tmp_path, "--steps", "1", "--seq-len", "16,20,24,28,32", TMPDIR=str(tmp_path))
    wait_for_records(process, tmp_path)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=100)
    assert process.returncode == 130
    *rows, empty, first, last = said.splitlines()
    # A record may be there before its row is told.
    assert {row.split()[0] for row in rows} <= {"ok"}
    assert empty == ""
    assert first == "Stopped. Finished records are in out."
    assert last == "To go on: the same command with --out out"


def test_words_of_a_worker_that_ended_are_kept(tmp_path):
    log = tmp_path / "alignmeter.log"
    with log_to(log):
        keep(b"a bar\n")
        keep(b"")
    assert log.read_bytes() == b"a bar\n"
    with log_to(tmp_path / "empty.log"):
        pass
    assert not (tmp_path / "empty.log").exists()
    with log_to(tmp_path / "none" / "alignmeter.log"):
        keep(b"lost")


def test_what_is_quiet_within_something_quiet_leaves_it_so(monkeypatch, capfd):
    """Where nobody keeps a log: what is logged behind the inner context goes nowhere either."""
    monkeypatch.delenv("ALIGNMETER_LOG", raising=False)
    logger = logging.getLogger("of.a.library")
    logger.addHandler(logging.StreamHandler(sys.stderr))
    with quiet():
        with quiet():
            logger.warning("inside")
        logger.warning("behind")
    logger.warning("after")
    assert capfd.readouterr().err == "after\n"
