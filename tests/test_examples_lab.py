"""examples/lab: each file is read as the program that it is for would read it."""

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from alignmeter.cli import cli
from alignmeter.lab.lab_file import read_lab

ROOT = Path(__file__).parents[1]
LAB = ROOT / "examples" / "lab"
SECTIONS = {
    ".service": {
        "Unit": {"Description", "Wants", "After"},
        "Service": {
            "Type", "WorkingDirectory", "ExecStart", "SuccessExitStatus", "KillSignal",
            "TimeoutStopSec",
        },
    },
    ".timer": {
        "Unit": {"Description"},
        "Timer": {"OnCalendar", "Persistent"},
        "Install": {"WantedBy"},
    },
}  # fmt: skip
SYSTEMD = shutil.which("systemd-analyze")
RECIPES = sorted((LAB / "containers").glob("*.Dockerfile"))


def parse_nightly(words):
    """A line that starts the night; a wrong option raises."""
    assert [Path(words[0]).name, *words[1:3]] == ["alignmeter", "lab", "nightly"]
    lab = cli.commands["lab"]
    return lab.commands["nightly"].make_context("nightly", words[3:]).params


@pytest.fixture(autouse=True)
def in_the_folder(monkeypatch):
    monkeypatch.chdir(LAB)


def test_the_file_of_classes_is_read_and_names_its_matrix():
    lab = read_lab(Path("LAB.toml"))
    assert {name: one.accelerator for name, one in lab.classes.items()} == {
        "b200": "cuda",
        "mi300x": "rocm",
    }


def test_units_have_known_settings_and_a_command_that_parses():
    for suffix, known in SECTIONS.items():
        unit = configparser.ConfigParser(interpolation=None)
        unit.optionxform = str
        unit.read(f"alignmeter-night{suffix}")
        assert {name: set(unit[name]) for name in unit.sections()} == known
    service = configparser.ConfigParser(interpolation=None)
    service.read("alignmeter-night.service")
    assert parse_nightly(shlex.split(service["Service"]["execstart"]))["until"] is not None


@pytest.mark.skipif(SYSTEMD is None, reason="no systemd; install it")
def test_systemd_takes_the_units():
    """It has one complaint: the command is not installed on this host."""
    done = subprocess.run(
        [SYSTEMD, "verify", "alignmeter-night.timer", "alignmeter-night.service"],
        capture_output=True,
        text=True,
    )
    said = [line for line in done.stderr.splitlines() if "alignmeter-night" in line]
    assert [line for line in said if "is not executable" not in line] == []


@pytest.mark.parametrize("name", ["crontab", "scrontab"])
def test_a_line_of_cron_has_five_fields_and_a_command_that_parses(name):
    (line,) = [text for text in Path(name).read_text().splitlines() if not text.startswith("#")]
    *fields, command = line.split(maxsplit=5)
    assert all(re.fullmatch(r"\*|[0-9]+", field) for field in fields)
    assert len(fields) == 5
    _, nightly = command.split(" && ")
    parse_nightly(shlex.split(nightly))


def test_the_workflow_uses_what_the_job_matrix_has():
    text = Path("github-workflow.yml").read_text()
    jobs = yaml.safe_load(text)["jobs"]
    printed = CliRunner().invoke(cli, ["lab", "matrix", "LAB.toml", "--format", "github"])
    entries = json.loads(printed.output)["include"]
    assert set(re.findall(r"matrix\.(\w+) }}", text)) - {"outputs"} <= {"matrix", *entries[0]}
    for job in jobs.values():
        assert job["runs-on"]
        assert all({"uses", "run"} & set(step) for step in job["steps"])
        assert job.get("needs", "classes") in jobs
    assert jobs["night"]["strategy"]["matrix"] == "${{ fromJSON(needs.classes.outputs.matrix) }}"
    assert jobs["classes"]["outputs"] == {"matrix": "${{ steps.list.outputs.matrix }}"}


def test_the_classes_have_what_a_job_of_kubernetes_needs():
    printed = CliRunner().invoke(cli, ["lab", "matrix", "LAB.toml", "--format", "kubernetes"])
    pods = [job["spec"]["template"]["spec"] for job in json.loads(printed.output)["items"]]
    limits = [pod["containers"][0]["resources"]["limits"] for pod in pods]
    assert [next(iter(limit)) for limit in limits] == ["nvidia.com/gpu", "amd.com/gpu"]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_copies_what_is_there_onto_an_image_of_its_vendor(recipe):
    lines = [line for line in recipe.read_text().splitlines() if not line.startswith("#")]
    words = [line.split() for line in lines]
    assert [line[0] for line in words[:2]] == ["ARG", "FROM"]
    assert {line[0] for line in words} <= {"ARG", "FROM", "RUN", "COPY", "ENTRYPOINT"}
    for _, *sources, _ in (line for line in words if line[0] == "COPY"):
        there = [name for name in sources if not name.startswith("alignmeter-")]  # the wheel
        assert all((recipe.parent / name).is_file() for name in there)
    for line in lines:
        if line.startswith("RUN "):
            subprocess.run(["/bin/sh", "-n", "-c", line.removeprefix("RUN ")], check=True)


@pytest.mark.exhaustive  # an environment of its own: torch and all that the wheel needs
def test_the_install_part_leaves_the_torch_that_is_there(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "image"], check=True)
    python = tmp_path / "image" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "torch==2.13.0"], check=True)
    folder = tmp_path / "alignmeter"
    shutil.copytree(LAB / "containers", folder)
    wheel = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", folder, ROOT]
    subprocess.run(wheel, check=True)
    path = {"PATH": f"{python.parent}:/usr/bin:/bin"}
    done = subprocess.run(
        ["/bin/sh", folder / "install.sh"], env=path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    torch = [python, "-P", "-c", "import torch; print(torch.__version__)"]
    assert subprocess.check_output(torch, text=True).startswith("2.13.0")
