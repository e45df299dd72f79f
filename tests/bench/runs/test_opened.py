"""An open run: lock, run file, records in place of earlier ones, and a report with timelines."""

import json

import pytest
from made_records import make_record

from alignmeter.errors import InputError
from alignmeter.records.folder import load_folders
from alignmeter.records.timeline import FIGURE_FIELDS, Mark, Timeline
from alignmeter.runs.opened import open_run
from alignmeter.session.replicate import Finished

NOTHING = dict.fromkeys(FIGURE_FIELDS)
STEP = [
    Mark(stage="timed", start_s=0.0, end_s=1.0),
    Mark(stage="timed", start_s=0.0, end_s=1.0, step=0, phase="forward"),
]
SAMPLES = [
    {"time_s": when, **NOTHING, "memory_used_bytes": 10**9, "power_w": 90.0 + when, "throttles": ""}
    for when in (0.1, 0.5, 0.9)
]


def opened(folder):
    return open_run(folder, matrix="mine", axes={"batch": (1, 2)}, command="some command")


def test_the_folder_is_locked_and_says_what_was_asked_for(tmp_path):
    with opened(tmp_path / "out") as run:
        asked = json.loads((run.folder / "run.json").read_text())
        assert (asked["matrix"], asked["axes"]) == ("mine", {"batch": [1, 2]})
        assert asked["command"] == "some command"
        with pytest.raises(InputError, match=r"another run .* writes here"), opened(run.folder):
            pytest.fail("two runs in one folder")
    with opened(tmp_path / "out"):
        pass


def test_a_run_that_goes_on_keeps_its_name_and_its_records_have_it(tmp_path):
    names = []
    for batch in (2, 3):
        with opened(tmp_path) as run:
            names.append(run.run)
            run.store(Finished(record=make_record(batch=batch), timeline=None))
    assert names[0] == names[1] != ""
    assert {r.provenance.run for r in load_folders([tmp_path]).records} == {names[0]}
    with opened(tmp_path / "another") as run:
        assert run.run not in names


@pytest.mark.parametrize("there", [b"", b"[]", b"{}", b'{"run": 3}', b"\xff"])
def test_a_run_file_that_names_none_is_no_obstacle(tmp_path, there):
    (tmp_path / "run.json").write_bytes(there)
    with opened(tmp_path) as run:
        assert len(run.run) == 12


def test_the_lock_goes_with_a_run_that_fails(tmp_path):
    with pytest.raises(KeyboardInterrupt), opened(tmp_path):
        raise KeyboardInterrupt
    with opened(tmp_path):
        pass


def test_a_record_takes_the_place_of_one_of_its_name(tmp_path):
    """Two tests of one session may measure one cell: its record is there once, the last one."""
    with opened(tmp_path) as run:
        for peak, batch in ((1, 2), (2, 3), (3, 2)):
            run.store(Finished(record=make_record(peak=peak, batch=batch), timeline=None))
        kept = [record.memory.allocated_peak_bytes for record in run.records]
    assert kept == [3, 2]
    found = load_folders([tmp_path]).records
    assert sorted(record.memory.allocated_peak_bytes for record in found) == [2, 3]


def test_the_report_has_the_timelines(tmp_path):
    timeline = Timeline(marks=STEP, samples=SAMPLES)
    with opened(tmp_path) as run:
        run.store(Finished(record=make_record(batch=3), timeline=None))
        run.store(Finished(record=make_record(), timeline=timeline))
        html, csv = run.report()
    page = html.read_text()
    assert '<h2 id="timelines">' in page
    assert csv.is_file()
