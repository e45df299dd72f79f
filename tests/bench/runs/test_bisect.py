"""A bisection over a real repository; what measures is a script that reads its commit's figure."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from made_history import FULL, replicate

from alignmeter.cli.bisect import bisect as command
from alignmeter.errors import InputError
from alignmeter.records.record import encode_record
from alignmeter.runs.worktree import Worktree

MEASURE = """#!{python}
import json, os, pathlib, sys, time
given = dict(zip(sys.argv[-6::2], sys.argv[-5::2]))
spec, number = json.loads(pathlib.Path(sys.argv[5]).read_text()), int(given["--replicate"])
assert (spec["method"], "kernels" in spec) == ("dpo", True)
with open({log!r}, "a") as log:
    log.write(given["--run"] + "\\n")
time.sleep(float(os.environ.get("SLOWLY", 0)))
record = json.loads({record!r})
seconds = float(pathlib.Path("seconds").read_text()) * (1 + 0.002 * number)
record["replicate"] = number
record["timing"].update(step_s=[seconds], median_s=seconds)
place = pathlib.Path(given["--out"])
place.mkdir(parents=True, exist_ok=True)
(place / f"{{record['cell']['id']}}.r{{number}}.json").write_text(json.dumps(record))
"""


def git(folder, *arguments):
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(
        [shutil.which("git"), "-C", folder, *who, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def made(tmp_path):
    """Ten commits: the fourth cannot be installed, from the sixth on a step takes a tenth more."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    commits = []
    for number in range(1, 11):
        (folder / "seconds").write_text("0.22" if number >= 6 else "0.2")
        (folder / "broken").write_text("1" if number == 4 else "0")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "--allow-empty", "-m", f"commit {number}")
        commits.append(git(folder, "rev-parse", "HEAD"))
    (folder / "seconds").write_text("not committed")
    record = encode_record(replicate(FULL)).decode()
    (tmp_path / "cell.json").write_text(record)
    script = tmp_path / "measure"
    text = MEASURE.format(python=sys.executable, log=str(tmp_path / "log"), record=record)
    script.write_text(text)
    script.chmod(0o700)
    return tmp_path, commits


def arguments(place, good, bad, install="test $(cat broken) = 0"):
    return [
        f"{place}/cell.json", good, bad, "--repository", f"{place}/repository", "--out",
        f"{place}/out", "--python", f"{place}/measure", "--replicates", "3", "--fail-on",
        "time:3%", "--", "sh", "-c", install,
    ]  # fmt: skip


def untouched(place):
    folder = place / "repository"
    assert git(folder, "symbolic-ref", "--short", "HEAD") == "main"
    assert git(folder, "status", "--porcelain") == "M seconds"
    assert not (folder / ".git" / "BISECT_LOG").exists()


def test_the_first_bad_commit_is_found_and_the_checkout_left_alone(made):
    place, commits = made
    done = CliRunner().invoke(command, arguments(place, commits[0], "main"))
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == f"{commits[5]} is the first bad commit"
    assert "BAD versus GOOD: time regressed +10.0 %" in done.output
    measured = (place / "log").read_text().split()
    assert all(measured.count(commit) == 3 for commit in set(measured))
    untouched(place)
    assert git(place / "repository", "worktree", "list").count("\n") == 0
    again = CliRunner().invoke(command, arguments(place, commits[0], "main"))
    assert again.output == done.output
    assert (place / "log").read_text().split() == measured


@pytest.mark.full
def test_commits_that_cannot_be_installed_are_passed_over(made):
    place, commits = made
    only = "git log -1 --format=%s | grep -Eq 'commit (1|8)$'"
    done = CliRunner().invoke(command, arguments(place, commits[0], commits[7], only))
    assert done.exit_code == 3, done.output
    assert set(commits[1:8]) <= set(done.output.split())
    assert "skip: the command ended with 1" in done.output


def test_ends_that_the_gate_cannot_tell_apart_are_refused(made):
    place, commits = made
    for good, bad, why in (
        (commits[6], "main", r"cannot tell GOOD from BAD \(time equal"),
        (commits[3], "main", "GOOD, .* cannot be measured: the command ended with 1"),
        ("nowhere", "main", "git rev-parse failed"),
    ):
        with pytest.raises(InputError, match=why):
            command.main(arguments(place, good, bad), standalone_mode=False)
    untouched(place)


@pytest.mark.full
def test_a_killed_bisection_leaves_the_checkout_and_goes_on(made):
    place, commits = made
    started = subprocess.Popen(
        [sys.executable, "-P", "-m", "alignmeter", "bisect", *arguments(place, commits[0], "main")],
        env={**os.environ, "SLOWLY": "0.2"}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    log, limit = place / "log", time.monotonic() + 60
    while not (log.exists() and len(log.read_text().split()) > 3):
        assert started.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.01)
    started.send_signal(signal.SIGKILL)
    started.wait()
    untouched(place)
    before = {path.name for path in Path(place, "out", "commits").iterdir()}
    assert commits[0] in before
    time.sleep(0.3)  # the replicate that was being measured ends, and is kept
    done = CliRunner().invoke(command, arguments(place, commits[0], "main"))
    assert done.output.splitlines()[-1] == f"{commits[5]} is the first bad commit"
    assert log.read_text().split().count(commits[0]) == 3
    assert git(place / "repository", "worktree", "list").count("\n") == 0
    untouched(place)


def test_what_the_build_of_one_commit_left_is_not_there_for_the_next(made, tmp_path):
    folder, commits = tmp_path / "repository", git(tmp_path / "repository", "rev-list", "HEAD")
    with Worktree(folder, tmp_path / "worktree") as tree:
        (tree.path / "build").mkdir()
        (tree.path / "build" / "old.so").write_text("")
        tree.switch(commits.splitlines()[-1])
        assert (tree.path / "seconds").read_text() == "0.2"
        assert not (tree.path / "build").exists()


@pytest.mark.parametrize("text", ["{}", '{"method": "dpo"}', "[]"])
def test_what_is_neither_a_record_nor_a_cell_is_refused_as_such(text, tmp_path):
    (tmp_path / "cell.json").write_text(text)
    with pytest.raises(
        InputError, match=r"cell.json: neither a record nor a cell \(.*\); give the"
    ):
        command.main([f"{tmp_path}/cell.json", "a", "b"], standalone_mode=False)


PYTHON = """#!/bin/sh
echo {seconds} > seconds
exec {measure} "$@"
"""


@pytest.fixture
def environments(made):
    """Seven interpreters; from the fifth on a step takes a tenth more, and one starts nothing."""
    place, _ = made
    lines = []
    for number in range(1, 8):
        python = place / f"env-{number}" / "bin" / "python"
        python.parent.mkdir(parents=True)
        seconds = 0.22 if number >= 5 else 0.2
        python.write_text(PYTHON.format(seconds=seconds, measure=place / "measure"))
        python.chmod(0o700)
        lines.append(str(python))
    file = place / "environments.txt"
    file.write_text("\n".join(lines) + "\n\n")
    return file, lines


def among(file, good, bad, *more, python="{}"):
    return [
        f"{file.parent}/cell.json", good, bad, "--environments", str(file), "--python", python,
        "--out", f"{file.parent}/out", "--replicates", "3", "--fail-on", "time:3%", *more,
    ]  # fmt: skip


def test_the_first_bad_environment_is_found_and_kept_when_more_come(environments):
    file, lines = environments
    done = CliRunner().invoke(command, among(file, lines[0], lines[5]))
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == f"{lines[4]} is the first bad environment"
    assert f"{lines[2]} good: time equal" in done.output
    log = file.parent / "log"
    measured = log.read_text().split()
    assert all(measured.count(one) == 3 for one in measured)
    file.write_text("\n".join([*lines, "later"]))
    again = CliRunner().invoke(command, among(file, lines[0], lines[5]))
    assert (again.output, log.read_text().split()) == (done.output, measured)


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_file_of_an_editor_with_a_mark_and_other_line_ends_is_read(ends, environments):
    file, lines = environments
    file.write_bytes(b"\xef\xbb\xbf" + ends.join(lines).encode())
    done = CliRunner().invoke(command, among(file, lines[0], lines[5]))
    assert done.output.splitlines()[-1] == f"{lines[4]} is the first bad environment"


def test_an_interpreter_that_is_gone_is_passed_over_but_not_at_the_ends(environments):
    file, lines = environments
    Path(lines[3]).unlink()
    done = CliRunner().invoke(command, among(file, lines[0], lines[6]))
    assert f"{lines[3]} skip: " in done.output
    assert "cannot be started: No such file or directory" in done.output
    assert done.exit_code == 3, done.output
    assert set(done.output.splitlines()[-2:]) == {lines[3], lines[4]}
    Path(lines[0]).unlink()
    shutil.rmtree(file.parent / "out")
    with pytest.raises(InputError, match=r"GOOD, .* cannot be measured: .* cannot be started"):
        command.main(among(file, lines[0], lines[6]), standalone_mode=False)


def test_a_command_is_given_the_line_and_what_it_cannot_install_is_passed_over(environments):
    file, lines = environments
    install = 'test "$1" != {broken} && ln -sf "$1" python'
    script = ["--", "sh", "-c", install.format(broken=lines[4]), "install", "{}"]
    done = CliRunner().invoke(command, among(file, lines[0], lines[6], *script, python="./python"))
    assert done.exit_code == 3, done.output
    assert "one of these, which cannot be measured" in done.output
    assert set(done.output.splitlines()[-2:]) == {lines[4], lines[5]}


def test_a_file_of_environments_that_says_nothing_clear_is_refused(environments):
    file, _ = environments
    for text, good, bad, why in (
        ("one\n", "one", "one", "environments.txt: give a line per environment, two at least"),
        ("one\ntwo\none\n", "one", "two", "the line 'one' stands there twice"),
        ("one\ntwo\n", "one", "tow", "environments.txt: no line 'tow'; known: one, two"),
        ("one\ntwo\n", "two", "one", "environments.txt: GOOD, 'two', comes after BAD, 'one'"),
        ("one\ntwo\n", "one", "one", "environments.txt: GOOD and BAD are one line, 'one'"),
        ("one\nt\0wo\n", "one", "one", r"the line 't\\x00wo' has characters that cannot be seen"),
        ("a\x0cb\nc\n", "a", "c", r"the line 'a\\x0cb' has characters that cannot be seen"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=why):
            command.main(among(file, good, bad), standalone_mode=False)
    file.write_text("one\ntwo\n")
    for more in ((), ("--", "true", "{")):
        with pytest.raises(
            InputError, match=r"environments.txt: {}, which stands for a line, is ne"
        ):
            command.main(among(file, "one", "two", *more, python="x"), standalone_mode=False)
    file.write_bytes(b"\xff\n\xfe")
    with pytest.raises(InputError, match="not text in UTF-8"):
        command.main(among(file, "a", "b"), standalone_mode=False)


def test_records_of_another_way_to_measure_are_not_taken(made):
    place, commits = made
    for last in (commits[6], "main"):  # measured, and then refused by what it found
        with pytest.raises(InputError, match="cannot tell GOOD from BAD"):
            command.main(arguments(place, commits[5], last), standalone_mode=False)
    with pytest.raises(InputError, match=r"measured-by.json: another --python or COMMAND measured"):
        command.main(arguments(place, commits[5], "main", "true"), standalone_mode=False)


@pytest.mark.parametrize("where", ["", ">&2"], ids=["output", "error"])
def test_a_failing_command_is_quoted_wherever_it_speaks(where, made):
    place, commits = made
    install = f"echo no room {where}; false"
    with pytest.raises(InputError, match=r"GOOD, .* the command ended with 1: no room"):
        command.main(arguments(place, commits[0], "main", install), standalone_mode=False)
