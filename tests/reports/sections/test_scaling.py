"""The section on sequence length, from records that are exact power laws."""

import html
import re

import msgspec
import pytest
from made_records import make_record

from alignmeter.records.folder import Loaded
from alignmeter.records.record import Phase, Reason, Timing, Verdict
from alignmeter.units import MIB
from alignmeter_reports import write_report

LENGTHS = (1024, 2048, 4096)
DASH = "\N{EN DASH}"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7*7 }}"


@pytest.fixture
def section_of(tmp_path):
    """The section's HTML over some records; empty where the page has none."""

    def section(records):
        write_report(Loaded(records=list(records), refused=[]), tmp_path / "r.html")
        page = (tmp_path / "r.html").read_text()
        return page.partition('id="scaling"')[2].partition("</section>")[0]

    return section


def words(section):
    """The text of a section, its tags left out."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", section)).split())


def rows_of(section):
    """(architecture, part or T) -> the cells after them, in the first table."""
    body = section.partition("<tbody>")[2].partition("</tbody>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]
    return {(row[1], row[2]): row[3:] for row in cells}


def ladder(exponent, name, *, replicate=0, reasons=(), **axes):
    """Steps of T^k ms, half of it in the mixer; peaks of T / 1024 MiB."""
    records = []
    for t in LENGTHS:
        seconds = 1e-3 * t**exponent
        record = make_record(peak=MIB * t // 1024, seq_len=t, replicate=replicate, **axes)
        timing = Timing(step_s=[seconds], median_s=seconds, operator_s={name: seconds / 2})
        records.append(
            msgspec.structs.replace(
                record, timing=timing,
                phases={"forward": Phase(median_s=0.1, peak_bytes=t)},
                validity={"time": Verdict(ok=not reasons, reasons=list(reasons))},
            )
        )  # fmt: skip
    return records


def test_golden_exponents_and_crossing(section_of):
    """llama T^2, mamba 2048 T^1 ms: equal at T = 2048."""
    llama, mamba = ladder(2.0, "attention"), ladder(1.0, "scan", architecture="mamba")
    mamba = [
        msgspec.structs.replace(
            r, timing=msgspec.structs.replace(r.timing, median_s=2048 * r.timing.median_s)
        )
        for r in mamba
    ]
    section = section_of([*llama, *mamba])
    found = rows_of(section)
    assert found["llama", "whole step"] == [
        "2.00", DASH, "2.00", "1.00", DASH, "1.00", "1024 to 4096", "1",
    ]  # fmt: skip
    assert found["llama", "operators: attention"][:6] == ["2.00", DASH, "2.00", DASH, DASH, DASH]
    assert found["llama", "forward"][:6] == ["0.00", DASH, "0.00", "1.00", DASH, "1.00"]
    assert found["mamba", "operators: scan"][0] == "1.00"
    said = words(section)
    assert "mamba is cheaper than llama in the time of a step: from T = 2048 on." in said
    assert "in peak memory: not within the range measured: llama is cheaper" in said
    for label in ("llama, exponent 2.00", "llama attention, exponent 2.00", "mamba scan, exponent"):
        assert label in said
    assert section_of([*mamba[::-1], *llama]) == section


def test_intervals_and_spoiled_times_are_shown(section_of):
    reason = Reason(code="host_loaded", text="others used 40 %")
    records = [r for k in range(3) for r in ladder(1.0, "scan", replicate=k, reasons=[reason])]
    section = section_of(records)
    step = rows_of(section)["llama", "whole step"]
    assert step[:3] == ["1.00*", "1.00 to 1.00", "1.00"]
    assert step[-1] == "3"
    assert "are invalid (host_loaded)" in words(section)


def points_of(section):
    """(architecture, T) -> the cells after them in the table of the chart's points."""
    table = section.partition("Points of the chart")[2]
    return {(a, int(t)): rest for (a, t), rest in rows_of(table).items()}


def test_the_points_of_the_chart_stand_in_a_table(section_of):
    """T^1 ms: 1.024, 2.048 and 4.096 s, half of it the scan's; T / 1024 MiB."""
    reason = Reason(code="host_loaded", text="others used 40 %")
    records = [r for k in range(3) for r in ladder(1.0, "scan", replicate=k)]
    found = points_of(section_of(records))
    assert sorted(found) == [("llama", t) for t in LENGTHS]
    assert found["llama", 2048] == ["2.05 s", "2.05 to 2.05 s", "1.02 s", "2 MiB"]
    spoiled = points_of(section_of(ladder(1.0, "scan", reasons=[reason])))
    assert spoiled["llama", 1024] == ["1.02 s*", "interval needs 3 replicates", "512 ms", "1 MiB"]


def test_without_a_ladder_there_is_no_section(section_of):
    assert section_of(ladder(1.0, "scan")[:2]) == ""
    assert section_of(ladder(1.0, "scan")) != ""


def test_settings_that_differ_are_charts_of_their_own(section_of):
    section = section_of(ladder(1.0, "scan") + ladder(1.0, "scan", batch=4))
    assert section.count("<svg") == 2
    assert "tiny-full-b4-synthetic" in section
    assert "tiny-full-synthetic" in section


def test_devices_share_one_pair_of_axes(section_of):
    """One chart; curves, rows, points and crossings name the device."""
    records = [
        msgspec.structs.replace(
            record, provenance=msgspec.structs.replace(record.provenance, device=device)
        )
        for device, factor in (("Card A", 1.0), ("Card B", 1.5))
        for name, architecture, exponent in (("attention", "llama", 2.0), ("scan", "mamba", 1.0))
        for record in ladder(factor * exponent, name, architecture=architecture)
    ]
    section = section_of(records)
    assert section.count("<svg") == 1
    said = words(section)
    assert "Card A, Card B: tiny-full-synthetic, fp32" in said
    for label in ("llama, Card A, exponent 2.00", "mamba, Card B, exponent 1.50"):
        assert label in said
    assert "Card B, dpo: mamba is cheaper than llama in the time of a step" in said
    table = re.findall(r"<tr>(.*?)</tr>", section, re.DOTALL)
    assert sum("Card A" in row for row in table) == sum("Card B" in row for row in table) > 0


def test_a_chart_has_room_for_what_was_measured_last(section_of):
    """Ten years of one device, each with another driver: eight curves, and ten in the table."""
    records = [
        msgspec.structs.replace(
            record,
            provenance=msgspec.structs.replace(
                record.provenance, device="Card", driver=f"d{year}", environment_digest=f"{year}",
                started=f"{2010 + year}-01-01T00:00:00+00:00",
            ),
        )
        for year in range(10)
        for record in ladder(1.0, "scan")
    ]  # fmt: skip
    section = section_of(records)
    chart, _, tables = section.partition("<svg")[2].partition("</svg>")
    drawn = [year for year in range(10) if f"(driver d{year})" in chart]
    assert drawn == list(range(2, 10))
    assert all(f"(driver d{year})" in tables for year in range(10))
    assert "2 more stand in the table alone" in words(section)


def test_hostile_names_and_sizes_stay_text_and_are_drawn(section_of):
    records = []
    for record in ladder(1.0, HOSTILE):
        cell = msgspec.structs.replace(
            record.cell, architecture=HOSTILE, method="$_{" + HOSTILE, id=HOSTILE
        )
        phases = {HOSTILE: Phase(median_s=1e300, peak_bytes=2**62)}
        records.append(msgspec.structs.replace(record, cell=cell, phases=phases))
    huge = msgspec.structs.replace(
        records[0], cell=msgspec.structs.replace(records[0].cell, seq_len=2**62)
    )
    section = section_of([*records, huge])
    assert "<svg" in section
    assert not re.search("<(script|img)", section)
    assert "<script>alert(1)" in words(section)
