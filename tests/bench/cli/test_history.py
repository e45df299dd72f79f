"""`alignmeter history` over folders: what is read, printed and returned."""

import json
import shutil

import msgspec
import pytest
from click.testing import CliRunner
from made_history import LORA, noisy, replicate, runs_of, started, write_runs

from alignmeter.analysis.history import History, read_runs, series
from alignmeter.cli.history import history as command
from alignmeter.errors import InputError
from alignmeter.records.record import encode_record

HOSTILE = "a\x1b[31m\u202eb[bold]c\nd"


def call(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """Twelve runs, the last six a tenth slower on a new commit."""
    new = (6, {"commit": "b" * 40, "versions": {"torch": "2.13.0"}})
    times = noisy(12, 3, start=6, factor=1.1)
    return write_runs(tmp_path_factory.mktemp("runs"), runs_of(times, change=new))


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    return write_runs(tmp_path_factory.mktemp("calm"), runs_of(noisy(12, 3)))


def test_the_table_names_run_commit_and_versions(changed):
    result = call(changed)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "2 changes in 3 series of 1 cell over 12 runs"
    assert "2026-01-07 10:00 run run-006, after run-005 of 2026-01-06 10:00" in lines
    assert f"  commit {'a' * 12} -> {'b' * 12}" in lines
    assert "  differs: torch 2.12.0 -> 2.13.0" in lines
    assert any(line.split()[0] == "time" and "regressed" in line for line in lines if line)
    assert all(len(line) <= 80 for line in lines)


def test_a_calm_history_is_one_sentence(calm):
    result = call(calm, "--fail-on-change")
    assert result.exit_code == 0
    assert result.output == "no change in 3 series of 1 cell over 12 runs\n"


def test_json_is_the_typed_history(changed):
    found = msgspec.json.decode(call(changed, "--json").stdout, type=History)
    assert [(change.metric, change.run) for change in found.changes] == [
        ("time", "run-006"), ("tokens", "run-006")]  # fmt: skip
    assert call(changed, "--json").stdout == call(changed, "--json").stdout


def test_exit_statuses_and_filters(changed):
    assert call(changed, "--fail-on-change").exit_code == 1
    assert call(changed, "--fail-on-change", "--metric", "memory").exit_code == 0
    assert call(changed, "--fail-on-change", "--since", "2026-01-07").exit_code == 1
    late = call(changed, "--fail-on-change", "--since", "2026-01-08")
    assert (late.exit_code, late.output.splitlines()[0][:9]) == (0, "no change")
    only = call(changed, "--metric", "tokens").output
    assert only.startswith("1 change in 1 series")


def test_wrong_input_is_named(changed, tmp_path):
    with pytest.raises(InputError, match=r"'speed' is not a metric; known: time, memory"):
        command.main([str(changed), "--metric", "speed"], standalone_mode=False)
    with pytest.raises(InputError, match="no such folder"):
        command.main([str(tmp_path / "none")], standalone_mode=False)
    with pytest.raises(InputError, match="no figures in"):
        command.main([str(tmp_path)], standalone_mode=False)


def test_a_file_that_is_no_record_is_named_and_the_rest_is_read(calm, tmp_path):
    folder = tmp_path / "runs"
    shutil.copytree(calm, folder)
    (folder / "run-003" / "broken.json").write_text("{")
    timeless = replicate(LORA, started="yesterday")
    (folder / "run-004" / "timeless.r0.json").write_bytes(encode_record(timeless))
    result = call(folder)
    assert result.exit_code == 2
    assert "run-003/broken.json: not an alignmeter record" in result.stderr
    assert f"run-004: provenance.started of {LORA.cell.id} is 'yesterday'" in result.stderr
    assert result.stdout.startswith("no change in 3 series")


def test_runs_lie_anywhere_below_and_a_copy_counts_once(calm, tmp_path):
    for number, run in enumerate(sorted(calm.iterdir())):
        shutil.copytree(run, tmp_path / f"month-{number % 3}" / "deep" / run.name)
    shutil.copytree(calm, tmp_path / "backup")
    refused: list[str] = []
    runs = list(read_runs(tmp_path, refused))
    assert (len(runs), refused) == (12, [])
    (time,) = series(runs, ["time"])
    assert [point.started for point in time.points] == [started(number) for number in range(12)]


def test_a_record_belongs_to_the_nearest_run(tmp_path):
    write_runs(tmp_path, [(".", replicate(started=started(0))),
                          ("inner", replicate(started=started(1)))])  # fmt: skip
    (tmp_path / "inner" / "sub").mkdir()
    deep = replicate(LORA, started=started(1))
    (tmp_path / "inner" / "sub" / "x.r0.json").write_bytes(encode_record(deep))
    found = {(run, record.cell.id) for run, record in read_runs(tmp_path, [])}
    assert ("inner", LORA.cell.id) in found
    assert {run for run, _ in found} == {"inner", tmp_path.name}


def test_a_folder_without_run_file_is_a_run_of_its_own(tmp_path):
    write_runs(tmp_path, runs_of(noisy(3)))
    for file in tmp_path.rglob("run.json"):
        file.unlink()
    assert [run for run, _ in read_runs(tmp_path, [])] == ["run-000", "run-001", "run-002"]


def test_names_from_records_are_made_plain(tmp_path):
    new = (6, {"versions": {"torch": HOSTILE}, "driver": "x" * 500})
    times = noisy(12, 3, start=6, factor=1.1)
    said = {"host": HOSTILE, "device": HOSTILE}
    write_runs(tmp_path, runs_of(times, change=new, **said))
    write_runs(tmp_path, runs_of(noisy(12, 4), host="other", hours=1, name="other"))
    output = call(tmp_path).output
    assert "b[bold]c d" in output
    assert not set(output) & {"\x1b", "\u202e"}
    assert all(len(line) <= 80 for line in output.splitlines())


def test_nodes_that_differ_are_printed_apart_from_changes(tmp_path):
    write_runs(tmp_path, runs_of(noisy(8, 1), host="a", name="a"))
    write_runs(tmp_path, runs_of(noisy(8, 2, level=0.24), host="b", name="b", hours=1))
    result = call(tmp_path, "--fail-on-change")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0].startswith("no change in 6 series")
    assert "node b/cpu differs from a/cpu" in lines
    assert "  measured at one time, so no change" in lines


def test_what_was_left_out_is_said(tmp_path):
    pairs = runs_of([0.2] * 4)
    spoiled = replicate(number=1, bad=("time",), started=started(0))
    write_runs(tmp_path, [*pairs, ("run-000", spoiled)])
    output = call(tmp_path).output
    assert "left out: 1 replicate whose time is invalid" in output
    assert "2 of them: too few runs to tell (needs 6)" in " ".join(output.split())


def test_the_run_file_is_not_taken_for_a_record(calm):
    assert json.loads((calm / "run-000" / "run.json").read_text())["schema_version"] == 1
    assert call(calm).stderr == ""
