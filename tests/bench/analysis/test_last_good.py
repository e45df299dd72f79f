"""Which run a night is compared with, where the one before it was not good."""

import pytest
from click.testing import CliRunner
from made_history import FULL, LORA, replicate, started, write_runs

from alignmeter.analysis.last_good import last_good
from alignmeter.cli.compare import compare as command
from alignmeter.cli.report import report
from alignmeter.errors import InputError
from alignmeter.store.compact import compact

NEW = [replicate(number=n, started=started(9, n)) for n in range(3)]


def night(day, made=FULL, **said):
    return [(f"night-{day}", replicate(made, n, started=started(day, n), **said)) for n in range(3)]


def chosen(*nights, new=NEW, **options):
    found = last_good([pair for each in nights for pair in each], new, **options)
    return [text.partition(": ")[2] for text in found.runs]


def test_the_newest_is_taken_unless_a_figure_of_it_is_invalid_or_a_replicate_failed():
    assert chosen(night(1), night(2)) == ["night-2 of 2026-01-03 10:00"]
    for bad in ("time", "memory", "numerics"):
        assert chosen(night(1), night(2, bad=(bad,))) == ["night-1 of 2026-01-02 10:00"]
    import msgspec

    failed = [(run, msgspec.structs.replace(r, status="oom")) for run, r in night(2)[:1]]
    assert chosen(night(1), [*failed, *night(2)[1:]]) == ["night-1 of 2026-01-02 10:00"]


def test_a_figure_that_nobody_can_measure_there_makes_no_run_bad():
    """`made_history` has no counter of energy, so each of its records says energy is invalid."""
    assert not night(1)[0][1].validity["energy"].ok
    assert chosen(night(1))


def test_other_hardware_other_cells_later_runs_and_other_versions_are_none():
    good, old = night(1), ["night-1 of 2026-01-02 10:00"]
    assert chosen(good, night(2, device="H200")) == old
    assert chosen(good, night(2, LORA)) == old
    assert chosen(good, night(9), night(10)) == old
    other = night(2, environment_digest="0" * 12)
    assert chosen(good, other, same_versions=True) == old
    with pytest.raises(InputError, match="no run before NEW is good on its kind of node;"):
        chosen(night(2, bad=("time",)))


def test_compare_takes_it_from_a_folder_of_nights(tmp_path):
    pairs = [*night(1, seconds=0.2), *night(2, seconds=0.1, bad=("time",))]
    base = write_runs(tmp_path / "nights", pairs)
    new = write_runs(tmp_path / "new", [("night-9", record) for record in NEW])
    done = CliRunner().invoke(command, [str(base), str(new), "--baseline", "last-good"])
    assert done.exit_code == 0, done.output
    assert "the last good run on cpu: night-1 of 2026-01-02 10:00" in done.stderr
    assert "regressed" not in done.stdout


@pytest.mark.full
def test_a_report_of_nights_takes_it_from_the_same_folder_or_store(tmp_path):
    pairs = [*night(1, seconds=0.2), *night(2, seconds=0.1, bad=("time",)), *night(3, seconds=0.3)]
    write_runs(tmp_path / "nights", pairs)
    compact(tmp_path / "nights", tmp_path / "store")
    for place in ("nights", "store"):
        words = [f"{tmp_path}/{place}", "--out", f"{tmp_path}/r.html", "--md", f"{tmp_path}/r.md"]
        done = CliRunner().invoke(report, [*words, "--baseline", "last-good"])
        assert done.exit_code == 0, done.output
        assert "the last good run on cpu: night-1 of 2026-01-02 10:00" in done.stderr
        assert "regressed +50" in (tmp_path / "r.md").read_text()
