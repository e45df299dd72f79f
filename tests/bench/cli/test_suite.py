"""`alignmeter suite`: packaged suites in any folder, from a checkout and from the wheel."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from alignmeter.cli import cli
from alignmeter.runs.suites import DEFAULT, suites

ROOT = Path(__file__).parents[3]
CELL = (
    "--method", "dpo", "--architecture", "llama", "--peft", "lora", "--accelerator", "cpu",
    "--seq-len", "16", "--data", "synthetic", "--steps", "3", "--no-plan",
)  # fmt: skip
PROGRAM = "from alignmeter.cli import main; main()"


def test_every_suite_is_listed_with_what_it_measures():
    lines = CliRunner().invoke(cli, ["suite"]).output.splitlines()
    assert [line.split()[0] for line in lines] == list(suites())
    assert {path.name for path in suites().values()} == {
        path.name for path in (ROOT / "suites").glob("*.py")
    }
    assert lines[list(suites()).index(DEFAULT)].endswith("of every architecture and PEFT mode")
    assert max(map(len, lines)) <= 80


def run(folder, *command, path=None):
    environment = {**os.environ, "COLUMNS": "80"}
    environment.pop("PYTEST_XDIST_WORKER", None)  # of the tests' own process, no worker of theirs
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    return subprocess.run(
        [sys.executable, "-P", *command], cwd=folder, env=environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip


def test_a_suite_that_is_none_and_an_option_that_is_none(tmp_path):
    """pytest's own sentence reaches the user: the command's log does not keep it."""
    done = run(tmp_path, "-c", PROGRAM, "suite", "kernal")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: 'kernal' is no suite; known: alignment, capacity")
    done = run(tmp_path, "-c", PROGRAM, "suite", "kernels", "--nothing-such")
    assert done.returncode == 4
    assert "unrecognized arguments: --nothing-such" in done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A folder that holds the wheel as pip installs it."""
    folder, installed = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", "--no-deps", "-q", "-w", folder, ROOT], check=True)
    (built,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "-q", "--target", installed, built], check=True)
    return installed


@pytest.mark.exhaustive
def test_the_wheel_measures_in_a_project_of_one_line(wheel, tmp_path):
    """A project with a test of its own and no suite: the packaged one is measured, no test run."""
    settings = '[tool.pytest.ini_options]\naddopts = "-p alignmeter.plugin"\n'
    (tmp_path / "pyproject.toml").write_text(settings)
    (tmp_path / "test_own.py").write_text("def test_own():\n    assert False\n")
    done = run(tmp_path, "-m", "pytest", "--benchmark", *CELL, path=wheel)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    (record,) = (tmp_path / "results").glob("*/*.r0.json")
    assert record.name.startswith("dpo-llama-tiny-lora-cpu-")


@pytest.mark.exhaustive
def test_a_project_s_own_suite_is_measured_alone(wheel, tmp_path):
    text = 'MATRIX = "quick"\n\n\ndef bench_own(cell):\n    cell.measure()\n'
    (tmp_path / "test_own.py").write_text(text)
    command = ("-m", "pytest", "-p", "alignmeter.plugin", "--benchmark", *CELL)
    done = run(tmp_path, *command, path=wheel)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bench_own[dpo-llama" in done.stdout
    assert "1 passed" in done.stdout


@pytest.mark.exhaustive
def test_the_wheel_runs_a_suite_in_any_folder(wheel, tmp_path):
    """Settings of the folder are none of its own: these would be refused."""
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --nothing-such\n")
    done = run(tmp_path, "-c", PROGRAM, "suite", "alignment", *CELL, "--results", "out", path=wheel)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len([*(tmp_path / "out").glob("*.r0.json")]) == 1
    assert (tmp_path / "out" / "report.html").is_file()
