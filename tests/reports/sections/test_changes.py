"""Timelines and change points in the page, from folders of runs."""

import gzip

import msgspec
import pytest
from made_cells import make_cell_records

from alignmeter.analysis.nights import nights
from alignmeter.records.folder import load_folders, record_path, timeline_path, write_record
from alignmeter.records.timeline import Mark, Timeline
from alignmeter_reports import write_report
from alignmeter_reports.sections.changes import changes_view
from alignmeter_reports.sections.timelines import timeline_views

NOISE = [0.0, 0.004, -0.003, 0.002, -0.004, 0.003, -0.001]


def sampled(phases=("forward", "backward"), stage="timed"):
    """Two steps of two phases of 0.1 s, read every 0.05 s at 100 and then 200 W."""
    marks = []
    for step in range(2):
        for place, name in enumerate(phases):
            start = 1 + 0.2 * step + 0.1 * place
            marks.append(Mark(stage=stage, start_s=start, end_s=start + 0.1, step=step, phase=name))
    samples = [
        {"time_s": 1 + 0.05 * i, "power_w": 100.0 * (1 + i // 4), "memory_process_bytes": 2**30,
         "throttles": ""}
        for i in range(8)
    ]  # fmt: skip
    return Timeline(marks=marks, samples=samples)


def store(folder, records, timeline=None):
    for record in records:
        write_record(folder, record, timeline)


def views(folder):
    loaded = load_folders([folder])
    paths = {id(r): p for r, p in zip(loaded.records, loaded.paths, strict=True)}
    return loaded, paths


@pytest.mark.full
def test_a_timeline_is_drawn_with_its_phases(tmp_path):
    store(tmp_path, make_cell_records([0.2]), sampled())
    loaded, paths = views(tmp_path)
    (view,), refused = timeline_views(loaded.records, paths)
    assert refused == []
    assert (view.steps, view.samples) == (2, 8)
    assert view.figures == ["mean power", "largest memory of the process"]
    for words in ("power, W", "memory of the process, GiB", "forward", "backward"):
        assert f">{words}</text>" in view.chart
    assert "clock" not in view.chart


def test_the_readings_of_each_phase_stand_in_a_table(tmp_path):
    """At 1.00, 1.05, ... s: two fall into each phase of each step, at 100 W and then at 200 W."""
    timeline = sampled()
    timeline.samples[6]["memory_process_bytes"] = 2**31  # at 1.30 s, in the second backward
    timeline.samples[7]["power_w"] = None
    store(tmp_path, make_cell_records([0.2]), timeline)
    loaded, paths = views(tmp_path)
    ((view,), _) = timeline_views(loaded.records, paths)
    forward, backward = view.phases
    assert (forward.name, forward.seconds, forward.readings) == ("forward", pytest.approx(0.2), 4)
    assert forward.figures == ["150 W", "1 GiB"]
    assert backward.figures == ["133 W", "2 GiB"]


def test_without_power_and_a_devices_memory_there_is_no_chart(tmp_path):
    """A CPU's memory is the machine's; of a device it is drawn without power too."""
    timeline = sampled()
    for sample in timeline.samples:
        sample["power_w"] = None
    for name, axes, drawn in (("cpu", {}, 0), ("cuda", {"accelerator": "cuda"}, 1)):
        store(tmp_path / name, make_cell_records([0.2], **axes), timeline)
        loaded, paths = views(tmp_path / name)
        assert len(timeline_views(loaded.records, paths)[0]) == drawn


@pytest.mark.parametrize("timeline", [None, Timeline(), sampled(stage="warmup")])
def test_without_timed_readings_there_is_no_chart(tmp_path, timeline):
    store(tmp_path, make_cell_records([0.2]), timeline)
    loaded, paths = views(tmp_path)
    assert timeline_views(loaded.records, paths) == ([], [])


def test_a_spoiled_timeline_is_named_and_the_page_made(tmp_path):
    (record,) = make_cell_records([0.2])
    store(tmp_path, [record], sampled())
    path = timeline_path(record_path(tmp_path, record.cell.id, 0))
    path.write_bytes(gzip.compress(b"time\n1\n", mtime=0))
    write_report(load_folders([tmp_path]), tmp_path / "r.html")
    assert f"{path}: not a timeline" in (tmp_path / "r.html").read_text()


def runs(folder, times):
    """A folder per time, a day apart, three replicates each."""
    for day, seconds in enumerate(times):
        records = make_cell_records([seconds * (1 + NOISE[(day + k) % 7]) for k in range(3)])
        started = f"2026-03-{day + 1:02d}T01:00:00+00:00"
        store(folder / f"night-{day:02d}", [
            msgspec.structs.replace(
                r, provenance=msgspec.structs.replace(r.provenance, started=started, host="h")
            )
            for r in records
        ])  # fmt: skip


def test_three_folders_of_different_cells_are_no_history(tmp_path):
    for method in ("sft", "dpo", "ppo"):
        store(tmp_path / method, make_cell_records([1.0, 1.1, 1.2], method=method))
    loaded, paths = views(tmp_path)
    assert changes_view(loaded.records, nights(loaded.records), paths) is None


def test_a_level_that_changed_is_drawn_and_told(tmp_path):
    runs(tmp_path, [1.0] * 7 + [1.1] * 7)
    loaded, paths = views(tmp_path)
    found = changes_view(loaded.records, nights(loaded.records), paths)
    assert found.runs == 14
    (slower,) = found.changes
    assert (slower.head, slower.change.metric) == ("2026-03-08, after 2026-03-07", "time")
    assert slower.change.effect_percent == pytest.approx(10, abs=0.5)
    assert slower.text.startswith("step time +10 % [")
    assert slower.text.endswith(", 1 s to 1.1 s")
    assert (len(found.changed), found.calm) == (1, [])
    write_report(loaded, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "What changed over the runs" in page
    assert "since 2026-03-08: DPO llama full: regressed, step time +10" in page


def test_nothing_is_listed_where_nothing_changed(tmp_path):
    runs(tmp_path, [1.0] * 14)
    loaded, paths = views(tmp_path)
    found = changes_view(loaded.records, nights(loaded.records), paths)
    assert (found.changes, found.changed, len(found.calm)) == ([], [], 1)
    write_report(loaded, tmp_path / "r.html")
    assert "No change in 2 series over 14 runs." in (tmp_path / "r.html").read_text()


def test_a_driver_change_is_marked_in_the_trend_lines(tmp_path):
    for day, driver in enumerate(("570.1", "570.1", "575.5", "575.5")):
        said = {"started": f"2026-03-{day + 1:02d}T01:00:00+00:00", "host": "h", "driver": driver}
        store(tmp_path / f"night-{day}", [
            msgspec.structs.replace(r, provenance=msgspec.structs.replace(r.provenance, **said))
            for r in make_cell_records([1.0, 1.001, 0.999])
        ])  # fmt: skip
    loaded, paths = views(tmp_path)
    (line,) = changes_view(loaded.records, nights(loaded.records), paths).calm
    assert line.marks == ["2026-03-03: driver 570.1 -> 575.5"]


def test_two_runs_are_no_history(tmp_path):
    runs(tmp_path, [1.0, 1.1])
    loaded, paths = views(tmp_path)
    assert changes_view(loaded.records, nights(loaded.records), paths) is None
