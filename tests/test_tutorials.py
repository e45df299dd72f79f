"""docs/start.md prints what it says, and the scripts of docs/nightly-lab.md do what it says."""

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from alignmeter.lab.lab_file import read_lab

DOCS = Path(__file__).parents[1] / "docs"
PROGRAM = "from alignmeter.cli import main; main()"
BLOCKS = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(page):
    """(language, text) of each, in order."""
    return BLOCKS.findall((DOCS / page).read_text())


def named(page):
    """First line's comment -> text, of the blocks that are files."""
    found = [re.match(r"# (\S+)\n", text) for _, text in blocks(page)]
    return {
        name[1]: text
        for name, (_, text) in zip(found, blocks(page), strict=True)
        if name is not None
    }


def plain(line):
    """Without times, which differ from run to run, and without the widths that follow from them."""
    return " ".join(re.sub(r"\b\d[\d.,]* (ms|s)\b", "TIME", line).split())


def test_each_output_of_the_tutorial_follows_a_command():
    kinds = [kind for kind, _ in blocks("start.md")]
    assert kinds == ["console", "console", "text", "text", "console", "text", "console", "text"]
    wanted = {"night.toml", "LAB.toml", "lab.sh", "night.sh", "jobs.sh", "morning.sh"}
    assert set(named("nightly-lab.md")) == wanted


def test_the_classes_that_the_guide_shows_are_such(tmp_path):
    """Those of GPUs too, which no machine has at hand."""
    tables = [text for kind, text in blocks("nightly-lab.md") if kind == "toml"]
    path = tmp_path / "LAB.toml"
    path.write_text("".join(tables[1:]))
    assert set(read_lab(path).classes) == {"host", "b200", "mi300x"}


@pytest.mark.exhaustive
def test_the_tutorial_prints_what_it_says(tmp_path):
    printed = set()
    for kind, text in blocks("start.md"):
        if kind == "text":
            missing = [line for line in text.splitlines() if plain(line) not in printed]
            assert missing == []
            continue
        for line in text.splitlines():
            words = shlex.split(line.removeprefix("$ "))
            if words[0] == "alignmeter":
                done = subprocess.run(
                    [sys.executable, "-P", "-c", PROGRAM, *words[1:]], cwd=tmp_path,
                    capture_output=True, text=True, check=False,
                )  # fmt: skip
                assert done.returncode == 0, done.stderr
                printed |= {plain(said) for said in done.stdout.splitlines()}
                printed |= {plain(said) for said in done.stderr.splitlines()}


@pytest.fixture
def scripts(tmp_path):
    """The page's files in a folder, and `alignmeter` where a shell finds it."""
    for name, text in named("nightly-lab.md").items():
        (tmp_path / name).write_text(text)
    program = tmp_path / "bin" / "alignmeter"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -c "{PROGRAM}" "$@"\n')
    program.chmod(0o755)
    path = os.pathsep.join([str(program.parent), os.environ["PATH"]])

    def run(script):
        return subprocess.run(
            [shutil.which("bash"), script], cwd=tmp_path, env={**os.environ, "PATH": path},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


@pytest.mark.exhaustive
def test_a_night_of_a_node_and_the_morning_after(scripts, tmp_path):
    done = scripts("night.sh")
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "results").glob("*/*/run.json")
    assert run.parent.name == socket.gethostname()
    assert len([*run.parent.glob("*.r*.json")]) == 12  # four cells, three replicates
    done = scripts("morning.sh")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("index.html", "latest.html", "nights", "cells"):
        assert (tmp_path / "public" / name).exists()


@pytest.mark.exhaustive
def test_a_night_of_a_lab(scripts, tmp_path):
    lab = tmp_path / "LAB.toml"
    once = lab.read_text().replace("replicates = 3\nretries = 1", "replicates = 1\nretries = 0")
    lab.write_text(once)
    done = scripts("lab.sh")
    assert done.returncode == 0, done.stderr
    assert len([*(tmp_path / "results" / "2026-01-31" / "host").glob("*.r0.json")]) == 4
    assert "HTML  results/2026-01-31/report.html" in done.stdout


@pytest.mark.exhaustive
def test_a_night_of_jobs(scripts, tmp_path):
    done = scripts("jobs.sh")
    assert done.returncode == 0, done.stderr
    assert len([*(tmp_path / "results").glob("*/*/dpo-*.r[012].json")]) == 3
