"""`pytest --benchmark` in a project of its own, as a user's suite would use it."""

import json
import math
import os

import pytest

from alignmeter.records.folder import load_folders
from alignmeter.records.foreign import read_foreign
from alignmeter.records.lock import locked
from alignmeter.registry import METHODS

SUITE = """
MATRIX = "{matrix}"

def bench_cells(cell):
    cell.measure()
"""
TINY = """
schema = 1
steps = 3
warmup = 1
[defaults]
data = "synthetic"
seq_len = 16
accelerator = "cpu"
[[grid]]
method = ["dpo", "ppo"]
[[grid]]
method = "dpo"
ref = "adapter-off"
"""


@pytest.fixture
def project(pytester, monkeypatch):
    # pytest-benchmark switches itself off in a process that looks like a test worker of xdist.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    pytester.makeini(
        "[pytest]\naddopts = -p alignmeter.plugin --import-mode=importlib\n"
        "testpaths = suites\npython_files = bench_*.py\npython_functions = bench_*\n"
    )
    matrix = pytester.path / "tiny.toml"
    matrix.write_text(TINY)
    (pytester.path / "suites").mkdir()
    suite = pytester.path / "suites" / "bench_alignment.py"
    suite.write_text(SUITE.format(matrix=matrix))
    return pytester


@pytest.mark.full
def test_benchmark_measures_reports_and_prints_the_delta(project):
    # So many steps and readings that the timelines have two of the host's memory at least.
    result = project.runpytest_subprocess(
        "--benchmark", "--results", "out", "--benchmark-json", "b.json", "--steps", "10",
        "--sample-hz", "200",
    )  # fmt: skip
    result.assert_outcomes(passed=2, skipped=1)
    result.stdout.fnmatch_lines(
        ["*DPO versus PPO: peak memory of one step (CPU tensor storage)*", "HTML  out*report.html"]
    )
    loaded = load_folders([project.path / "out"])
    assert sorted(r.status for r in loaded.records) == ["ok", "ok", "unsupported"]
    assert (project.path / "out" / "report.csv").is_file()
    # Cells were planned first; the CPU's plan is exact to a byte or so.
    for record in loaded.records:
        predicted, peak = record.memory.predicted_peak_bytes, record.memory.allocated_peak_bytes
        assert predicted == (None if peak is None else pytest.approx(peak, rel=0.01))
    benchmarks = json.loads((project.path / "b.json").read_text())["benchmarks"]
    records = {r.cell.id: r for r in loaded.records}
    for row in benchmarks:
        record = records[row["extra_info"]["cell"]]
        assert row["extra_info"]["step_s"] == record.timing.step_s
        assert row["stats"]["rounds"] == len(record.timing.step_s) == 10
        # The round trip holds the step and little else.
        assert row["stats"]["min"] >= min(record.timing.step_s)
    imported = read_foreign([project.path / "b.json"]).rows
    assert [(row.name, row.peak_bytes) for row in imported if row.status == "ok"] == [
        (f"{r.cell.id}.r{r.replicate}", r.memory.allocated_peak_bytes)
        for r in (records[row["extra_info"]["cell"]] for row in benchmarks)
    ]
    assert list((project.path / "out").glob("*.timeline.csv.gz"))
    # Of a CPU there is neither power nor VRAM to draw.
    assert '<h2 id="timelines">' not in (project.path / "out" / "report.html").read_text()


@pytest.mark.full
def test_a_folder_that_another_run_holds_is_a_usage_error(project):
    with locked(project.path / "out"):
        result = project.runpytest_subprocess("--benchmark", "--results", "out")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*out: another run (process {os.getpid()}) writes here*"])
    assert not (project.path / "out" / "run.json").exists()


@pytest.mark.exhaustive
def test_a_cell_that_would_not_fit_is_a_skip_unless_it_is_wanted_all_the_same(project):
    project.makeconftest(
        "from alignmeter.planner import forecast\n"
        "from alignmeter.telemetry.linux.limits import MemoryLimit\n"
        "memory = MemoryLimit(total_bytes=2**34, free_bytes=5 * 2**20)\n"
        "forecast.host_memory = lambda: memory\n"
    )
    one = ("--benchmark", "-rs", "--method", "dpo", "--ref", "resident", "--results", "out")
    result = project.runpytest_subprocess(*one)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*predicted_oom: * needed * 5 MiB on this host now*"])
    (record,) = load_folders([project.path / "out"]).records
    assert record.status == "predicted_oom"
    project.runpytest_subprocess(*one, "--no-plan").assert_outcomes(passed=1)
    (record,) = load_folders([project.path / "out"]).records  # nothing is resumed: it is replaced
    assert (record.status, record.memory.predicted_peak_bytes) == ("ok", None)


@pytest.mark.full
def test_listing_the_tests_touches_no_folder(project):
    result = project.runpytest_subprocess("--benchmark", "--collect-only", "--results", "out")
    assert result.ret == 0
    assert not (project.path / "out").exists()


@pytest.mark.exhaustive
def test_axis_flags_change_the_matrix(project):
    result = project.runpytest_subprocess(
        "--benchmark", "--method", "dpo", "--batch", "1,3", "--ref", "resident", "--steps", "1",
        "--operators", "--results", "out",
    )  # fmt: skip
    result.assert_outcomes(passed=2)
    records = load_folders([project.path / "out"]).records
    assert {r.cell.batch for r in records} == {1, 3}
    assert all(r.timing.operator_s["attention"] > 0 for r in records)


@pytest.mark.full
def test_without_the_flag_a_suite_is_skipped_with_a_reason(project):
    result = project.runpytest_subprocess("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*measures hardware; run it with `pytest --benchmark`*"])


@pytest.mark.exhaustive
def test_only_the_default_suite_runs_unless_another_is_named(project):
    other = project.path / "suites" / "bench_other.py"
    other.write_text("def bench_other():\n    pass\n")
    result = project.runpytest_subprocess("--benchmark", "--collect-only", "-q")
    assert "bench_other" not in result.stdout.str()
    named = project.runpytest_subprocess("--benchmark", "--collect-only", "-q", str(other))
    assert "bench_other" in named.stdout.str()


@pytest.mark.full
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--method", "xyz"], f"known: {', '.join(METHODS)}"),
        (["--steps", "0"], "--steps is 0; give at least 1"),
        (["--cell-timeout", "0"], "--cell-timeout is 0.0; give more than 0"),
        (["--results", "tiny.toml/x"], "cannot be written"),
        (["--benchmark-disable"], "leave out --benchmark-disable"),
    ],
)
def test_bad_options_are_usage_errors(project, arguments, words):
    result = project.runpytest_subprocess("--benchmark", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{words}*"])


def test_help_shows_the_axes(project):
    result = project.runpytest_subprocess("--help")
    assert result.ret == 0
    text = " ".join(result.stdout.str().split())
    assert "--ppo-backward=" in text
    assert "parameter counts match within 2 %" in text


def test_xdist_is_refused(project):
    result = project.runpytest_subprocess("--benchmark", "--numprocesses=2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*one cell at a time*"])


@pytest.mark.exhaustive
def test_a_crash_fails_with_one_line(project):
    project.makeconftest(
        "import os, signal\nfrom alignmeter.session.launcher import Launcher\n"
        "start = Launcher.start\n"
        "def killed(self):\n    worker = start(self)\n    os.kill(worker.pid, signal.SIGKILL)\n"
        "    return worker\n"
        "Launcher.start = killed\n"
    )
    result = project.runpytest_subprocess("--benchmark", "--results", "out")
    result.assert_outcomes(failed=2, skipped=1)
    result.stdout.fnmatch_lines(["*crashed: the worker was ended by SIGKILL*"])
    statuses = sorted(r.status for r in load_folders([project.path / "out"]).records)
    assert statuses == ["crashed", "crashed", "unsupported"]


def rows_with_one_bad(path):
    """Nine rows, the fourth without a good answer."""
    rows = [
        {"question": f"{n} what is a tide?", "good": f"{n} water" * (n != 3), "bad": "no"}
        for n in range(9)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return ["--benchmark", "--results", "out", "--data", str(path), "--columns",
            "prompt=question,chosen=good,rejected=bad", "--ref", "resident"]  # fmt: skip


@pytest.mark.exhaustive
def test_a_file_with_columns_of_its_own_is_measured_and_noted(project):
    arguments = rows_with_one_bad(project.path / "rows.jsonl")
    result = project.runpytest_subprocess(*arguments, "--method", "dpo", "--sample-hz", "0")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*1 of 9 rows left out: an answer is empty, first in line 4*"])
    (record,) = load_folders([project.path / "out"]).records
    assert record.provenance.data_layout == "plain"
    assert record.provenance.data == {
        "rows": 9, "pairs_kept": 8, "pairs_dropped": 1, "dropped_answer_empty": 1,
    }  # fmt: skip
    assert record.numerics.losses[0] == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.full
def test_bad_rows_are_refused_in_one_sentence(project):
    arguments = rows_with_one_bad(project.path / "rows.jsonl")
    result = project.runpytest_subprocess(*arguments, "--collect-only", "--bad-rows", "refuse")
    assert result.ret != 0
    said = result.stdout.str() + result.stderr.str()
    assert "rows.jsonl, line 4, field 'chosen': an answer is empty; correct it, or drop" in said
