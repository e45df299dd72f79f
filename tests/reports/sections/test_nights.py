"""Last night first: on the fourteen made nights, and on nights of a few records."""

import html
import re
from datetime import UTC, datetime, timedelta

import pytest
from made_cells import make_cell_records
from made_nights import DRIVER_NIGHT, DRIVERS, MISSING, NIGHTS, OUT_OF_MEMORY, SLOWER, write_nights
from msgspec.structs import replace

from alignmeter.analysis.compare.markdown import MARKDOWN_LIMIT_BYTES
from alignmeter.analysis.nights import last_night, nights
from alignmeter.records.folder import Loaded, load_folders
from alignmeter.records.record import Reason
from alignmeter.terminal.summary import summary_parts
from alignmeter.terminal.tables import lines
from alignmeter_reports import write_report

SOME = (SLOWER, MISSING, OUT_OF_MEMORY, ("dpo", "llama", "full"), ("grpo", "llama", "lora"))


def words(text):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


@pytest.fixture(scope="module")
def fourteen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nights")
    loaded = load_folders([write_nights(folder / "runs", cells=SOME)])
    write_report(loaded, folder / "r.html", md=folder / "r.md")
    return loaded, (folder / "r.html").read_text(), html.unescape((folder / "r.md").read_text())


@pytest.mark.exhaustive
def test_last_night_comes_first_with_what_is_news(fourteen):
    loaded, page, text = fourteen
    first = words(page[page.index("<main>") :].partition("</section>")[0])
    date = f"2026-03-{NIGHTS:02}"
    assert f"Last night: {date} " in first
    assert f"the latest of {NIGHTS} nights" in first
    assert "Changed: nothing" in first
    assert "Missing: 1 SFT mamba LoRA on NVIDIA H200" in first
    assert "Not measured: 1 PPO llama full" in first
    assert "out_of_memory in 3 of 3 replicates" in first
    assert re.search(
        r"Invalid: 1 GRPO llama LoRA.* step time and energy per step, host_loaded in 3 of 3", first
    )
    assert "since 2026-03-09: DPO mamba full: regressed, step time +" in first
    assert text.index(f"### Last night: {date}") < text.index("### Not measured")
    cells = f"{len(SOME)} cells in {2 * len(SOME)} rows, one for each device and software"
    assert f"{cells}, on NVIDIA H200" in text
    assert "Differs in all cells: commit 0d0d0d0d0d0d" in text
    assert len(text.encode()) < MARKDOWN_LIMIT_BYTES / 50
    shown = " ".join(" ".join(lines(summary_parts(loaded.records))).split())
    assert f"Last night: {date}, versus 2026-03-{NIGHTS - 1:02}" in shown


@pytest.mark.exhaustive
def test_before_and_after_a_driver_change_are_rows_of_their_own(fourteen):
    _, page, text = fourteen
    for driver in DRIVERS:
        assert f"(driver {driver})" in page
        assert f"(driver {driver})" in text
    before = nights(r for r in fourteen[0].records)[:DRIVER_NIGHT]
    assert f"driver {DRIVERS[0]} -> {DRIVERS[1]}" in last_night(before).differences


def at(records, *, hours, **said):
    when = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hours)).isoformat()
    return [replace(r, provenance=replace(r.provenance, started=when, **said)) for r in records]


def test_two_nights_begin_with_the_last_in_page_markdown_and_terminal(tmp_path):
    """The second has a new driver, and lacks a cell."""
    old = [*at(make_cell_records([1.0]), hours=0, driver="570.1", environment_digest="a"),
           *at(make_cell_records([1.0], method="sft"), hours=1, driver="570.1",
               environment_digest="a")]  # fmt: skip
    new = at(make_cell_records([1.0]), hours=24, driver="575.5", environment_digest="b")
    records = [*old, *new]
    write_report(Loaded(records=records, refused=[]), tmp_path / "r.html", md=tmp_path / "r.md")
    page, text = ((tmp_path / f"r.{kind}").read_text() for kind in ("html", "md"))
    first = words(page[page.index("<main>") :].partition("</section>")[0])
    shown = " ".join(" ".join(lines(summary_parts(records))).split())
    for said in (first, html.unescape(text), shown):
        assert "Last night: 2026-01-02" in said
        assert "driver 570.1 -> 575.5" in said
        assert "SFT llama full on cpu" in said
    assert "cpu (driver 570.1)" in page
    assert "cpu (driver 575.5)" in page
    assert text[text.index("### ") :].startswith("### Last night")


def test_what_changed_since_the_night_before():
    close = (1.0, 1.001, 0.999)
    old = at(make_cell_records(close), hours=0)
    new = at(make_cell_records([2 * share for share in close]), hours=24)
    assert last_night(nights(old)) is None
    found = last_night(nights([*new, *old]))
    assert found.changed[0].startswith("DPO llama full on cpu: step time reg")
    assert found.changed[0].endswith(" -> 2 s")
    assert (found.name, found.before) == ("2026-01-02", "2026-01-01")
    other = at(make_cell_records(close, method="sft"), hours=48)
    found = last_night(nights([*new, *old, *other]))
    assert found.changed == ["no cell is like one of the night before"]
    assert len(found.missing) == 1


def test_machines_of_one_night_are_one_night_and_a_late_one_has_its_hour():
    of = make_cell_records
    records = [*at(of([1.0]), hours=1), *at(of([1.0], method="sft"), hours=3, commit="b")]
    assert [n.name for n in nights(records)] == ["2026-01-01"]
    late = at(of([1.0], method="rm"), hours=20)
    assert [n.name for n in nights([*records, *late])] == ["2026-01-01 01:00", "2026-01-01 20:00"]


def test_a_cell_that_was_never_told_when_it_ran_is_in_no_night():
    (record,) = at(make_cell_records([1.0]), hours=0)
    failed = replace(record, status="crashed", reason=Reason(code="exception", text=""),
                     provenance=replace(record.provenance, started="yesterday"))  # fmt: skip
    assert [len(n.records) for n in nights([record, failed])] == [1]
    assert nights([failed]) == []
