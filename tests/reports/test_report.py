"""The page and the CSV, read back the way a browser and a spreadsheet would."""

import csv
import html
import io
import re
from html.parser import HTMLParser

import msgspec
import pytest
from made_records import make_record
from own_script import without_own_script

from alignmeter.errors import InputError
from alignmeter.records.folder import Loaded, load_folders, write_record
from alignmeter.records.reasons import REASONS
from alignmeter.records.record import OWNERS, Phase, Provenance, Reason, Verdict
from alignmeter.units import MIB
from alignmeter_reports import write_report
from alignmeter_reports.table import COLUMNS, rows

DASH = "\N{EN DASH}"


class Page(HTMLParser):
    """Tags, text and table rows of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self.text, self._cell = [], [], "", None
        self.attributes = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._cell = ""

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.rows[-1].append(" ".join(self._cell.split()))
            self._cell = None

    def handle_data(self, data):
        if self._cell is not None:
            self._cell += data
        elif "style" not in self.tags[-1:]:
            self.text += data.replace("\N{NO-BREAK SPACE}", " ")


def report(tmp_path, records, refused=()):
    loaded = Loaded(records=list(records), refused=list(refused))
    write_report(loaded, tmp_path / "r.html", tmp_path / "r.csv")
    text = (tmp_path / "r.html").read_text()
    rows = list(csv.DictReader(io.StringIO((tmp_path / "r.csv").read_text())))
    return text, Page(text), rows


def cell_row(rows, record):
    """Of the table of all cells, by the heads of its columns."""
    (row,) = [row for row in rows if row and row[0].endswith(f"{record.cell.id[-8:]} copy")]
    head = next(row for row in rows if row and row[0] == "cell" and row[-1].startswith("why not"))
    return dict(zip(head, row, strict=True))


def pair():
    """DPO 6 MiB and PPO 10 MiB: 4 MiB or 40 % saved, 2 of weights, 0.5 of optimizer, 1.5 rest."""
    dpo = make_record(peak=6 * MIB, ledger={"policy_weights": MIB, "optimizer_state": 2 * MIB})
    ppo = make_record(
        peak=10 * MIB, method="ppo",
        ledger={"policy_weights": MIB, "value_weights": 2 * MIB, "optimizer_state": 5 * MIB // 2},
    )  # fmt: skip
    return [dpo, ppo]


def test_a_carriage_return_does_not_split_a_row(tmp_path):
    reason = Reason(code="exception", text="one\rtwo\r\nthree")
    _, _, rows = report(tmp_path, [make_record(status="crashed", reason=reason)])
    assert [row["reason_text"] for row in rows] == ["one\ntwo\nthree"]
    assert b"\r" not in (tmp_path / "r.csv").read_bytes()


def test_a_file_name_that_is_not_utf8_is_shown(tmp_path):
    name = b"caf\xe9.json".decode("utf-8", "surrogateescape")
    _, page, _ = report(tmp_path, pair(), refused=[f"{name}: not a record"])
    assert "caf\\udce9.json: not a record" in page.text


def test_a_time_that_cannot_be_is_no_time(tmp_path):
    record = make_record()
    for wrong in (-1.0, 0.0):
        timing = msgspec.structs.replace(record.timing, median_s=wrong)
        phases = {"forward": Phase(median_s=wrong)}
        bad = msgspec.structs.replace(record, timing=timing, phases=phases)
        _, page, _ = report(tmp_path, [bad])
        assert "step time" not in cell_row(page.rows, record)
        assert "No cell has a figure for: step time," in page.text


def test_any_script_and_any_size_can_be_drawn(tmp_path):
    """Labels in a script that matplotlib's font lacks; bytes beyond what a float sums."""
    records = []
    for record, seconds in zip(pair(), (0.1, 1e300), strict=True):
        cell = msgspec.structs.replace(record.cell, architecture="骆驼")
        phases = {"forward": Phase(median_s=0.1), "backward": Phase(median_s=seconds)}
        records.append(msgspec.structs.replace(record, cell=cell, phases=phases))
    text, _, _ = report(tmp_path, records)
    assert "DPO 骆驼 full" in text


def test_the_same_record_twice_is_one_replicate(tmp_path):
    """Else three copies of one file would make an interval of width zero."""
    for copy in ("a", "a/b", "c"):
        write_record(tmp_path / copy, make_record())
    write_record(tmp_path / "c", make_record(replicate=1))
    loaded = load_folders([tmp_path / "a", tmp_path, tmp_path / "c"])
    assert sorted(record.replicate for record in loaded.records) == [0, 1]


def test_many_deltas_are_told_as_a_range(tmp_path):
    """13 pairs of 6 and 10 to 22 MiB: 40.0 to 72.7 % saved."""
    records = []
    for i in range(13):
        dpo = make_record(peak=6 * MIB, batch=i + 1)
        records += [dpo, make_record(peak=(10 + i) * MIB, method="ppo", batch=i + 1)]
    _, page, _ = report(tmp_path, records)
    said = " ".join(page.text.split())
    assert "DPO saves 40 to 73 % in all 13 pairs" in said
    assert "of 6 of 13 comparisons" in said


def test_golden_figures(tmp_path):
    _, page, rows = report(tmp_path, pair())
    (delta,) = [row for row in page.rows if row[1:3] == ["40.0 %", "4 MiB"]]
    assert delta[0].startswith("llama full, separate, sequential ")
    assert delta[1:] == [
        "40.0 %", "4 MiB", "6 MiB", "10 MiB",
        "2 MiB +20.0 %", "512 KiB +5.0 %", "1.5 MiB +15.0 %", "1",
    ]  # fmt: skip
    assert "DPO saves 40 % (4 MiB of 10 MiB)" in page.text
    by_method = {row["method"]: row for row in rows}
    assert by_method["ppo"]["allocated_peak_bytes"] == str(10 * MIB)
    assert by_method["ppo"]["ledger_value_weights_bytes"] == str(2 * MIB)
    assert by_method["dpo"]["step_median_s"] == "0.2"
    assert by_method["dpo"]["generated_tokens_per_s"] == ""
    assert by_method["dpo"]["energy_invalid"] == "energy_unavailable"


def test_dpo_above_ppo_is_said(tmp_path):
    _, page, _ = report(
        tmp_path, [make_record(peak=3 * MIB), make_record(peak=2 * MIB, method="ppo")]
    )
    assert "DPO needs 50 % more (1 MiB above 2 MiB)" in page.text


def test_what_was_not_measured_is_said(tmp_path):
    _, page, _ = report(tmp_path, pair())
    text = " ".join(page.text.split())
    assert "PPO that were not measured: separate, joint; shared, sequential; shared, joint." in text
    assert "Nothing in this report was measured on: cuda, rocm, xpu." in text


def test_cpu_figures_are_never_called_vram(tmp_path):
    text, _, rows = report(tmp_path, pair())
    assert "settle no claim about VRAM" in text
    measured = text[text.index('id="delta"') : text.index('id="command"')]
    assert "vram" not in measured.lower()
    answer = text[text.index('id="answer"') : text.index('id="claims"')]
    assert "vram" not in answer.lower()
    assert "CPU tensor storage" in answer
    assert {row["memory_kind"] for row in rows} == {"cpu tensor storage"}


def test_failed_cells_and_refused_files_do_not_vanish(tmp_path):
    reason = Reason(code="out_of_memory", text="tried to allocate 9 GiB")
    failed = make_record(status="oom", reason=reason, peft="lora")
    _, page, rows = report(tmp_path, [*pair(), failed], ["x.json: not an alignmeter record"])
    (row,) = [row for row in page.rows if len(row) == 5 and row[3] == "oom"]
    assert row[0] == f"DPO llama LoRA {failed.cell.id[-8:]}"
    known = "out_of_memory: an allocation failed (tried to allocate 9 GiB). What helps: "
    assert row[4].startswith(known)
    assert "x.json: not an alignmeter record" in page.text
    assert [r["reason_code"] for r in rows if r["status"] == "oom"] == ["out_of_memory"]


def test_notes_stand_apart_from_what_failed(tmp_path):
    said = Reason(code="beyond_trained_positions", text="seq_len is 64, and M was made for 32")
    noted = msgspec.structs.replace(make_record(), notes=[said])
    text, page, _ = report(tmp_path, [noted])
    assert "Every cell was measured." in page.text
    assert said.text in text[text.index("<h3>Noted</h3>") :]
    assert "<h3>Noted</h3>" not in report(tmp_path, [make_record()])[0]
    found = [row["notes"] for row in rows([make_record(replicate=1), noted])]
    assert found == ["beyond_trained_positions", None]


def test_intervals_from_three_replicates_on(tmp_path):
    two = [make_record(replicate=k) for k in range(2)]
    _, page, _ = report(tmp_path, two)
    assert cell_row(page.rows, two[0])["step time"] == "200 ms interval needs 3 replicates"
    _, page, _ = report(tmp_path, [make_record(replicate=k) for k in range(3)])
    assert cell_row(page.rows, two[0])["step time"] == "200 ms 200 to 200 ms"


def test_invalid_figures_are_marked_with_their_reason(tmp_path):
    spoiled = Verdict(ok=False, reasons=[Reason(code="host_loaded", text="others used 40 %")])
    record = msgspec.structs.replace(make_record(), validity={"time": spoiled})
    _, page, rows = report(tmp_path, [record])
    row = cell_row(page.rows, record)
    assert row["step time"].startswith("200 ms* ")
    assert row["why not measured or invalid"] == (
        "host_loaded (time) time: host_loaded: others used 40 %"
    )
    assert rows[0]["time_invalid"] == "host_loaded"


def test_why_a_cell_was_not_measured_stands_in_its_row_and_what_helps_below(tmp_path):
    planned = Reason(code="predicted_out_of_memory", text="105 GiB needed, 80 GiB on H100-SXM")
    strange = Reason(code="of_tomorrow", text="a new reason")
    failed = [
        make_record(peft="lora", status="predicted_oom", reason=planned, replicate=k)
        for k in range(2)
    ] + [make_record(peft="qlora", status="crashed", reason=strange)]
    text, _, _ = report(tmp_path, [*pair(), *failed])
    matrix = text[text.index('id="matrix"') :].partition("</section>")[0]
    rows = Page(matrix).rows
    why = "why not measured or invalid"
    assert cell_row(rows, failed[0])[why] == (
        "predicted_out_of_memory (predicted_oom) predicted_oom: predicted_out_of_memory: "
        "105 GiB needed, 80 GiB on H100-SXM (2 replicates)"
    )
    assert cell_row(rows, failed[-1])[why] == (
        "of_tomorrow (crashed) crashed: of_tomorrow: a new reason"
    )
    code = REASONS["predicted_out_of_memory"]
    assert '<a href="#why-predicted_out_of_memory">' in matrix
    assert f'id="why-{code}"' in matrix
    said = html.unescape(re.sub("</?code>", "`", matrix))
    assert f"{code.meaning}. What helps: {code.remedy}." in said
    assert "#why-of_tomorrow" not in text


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7*7 }}$x^"


def test_hostile_text_stays_text(tmp_path):
    strings = dict.fromkeys(
        ("host", "os", "device", "commit", "command", "started", "driver"), HOSTILE
    )
    provenance = Provenance(
        **strings, versions={HOSTILE: HOSTILE}, environment={HOSTILE: HOSTILE},
        kernel_path={HOSTILE: HOSTILE},
    )  # fmt: skip
    reason = Reason(code=HOSTILE, text=HOSTILE)
    validity = {"memory": Verdict(ok=True), HOSTILE: Verdict(ok=False, reasons=[reason])}
    records = [
        msgspec.structs.replace(
            record, provenance=provenance, validity=validity,
            phases={HOSTILE: Phase(median_s=0.1)},
        )
        for record in [*pair(), make_record(status="crashed", reason=reason, lane=HOSTILE)]
    ]  # fmt: skip
    text, page, _ = report(tmp_path, records, [HOSTILE])
    assert "script" not in Page(without_own_script(text)).tags
    assert "img" not in page.tags
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert "<script>alert" not in text


def test_formulas_are_defused_and_numbers_are_not(tmp_path):
    reason = Reason(code="exception", text='=HYPERLINK("http://x","y")')
    _, _, rows = report(tmp_path, [make_record(status="crashed", reason=reason, lane="-1+1")])
    assert rows[0]["reason_text"] == '\'=HYPERLINK("http://x","y")'
    assert rows[0]["lane"] == "'-1+1"
    negative = make_record(peak=5, ledger={"unattributed": -3})
    _, _, rows = report(tmp_path, [negative])
    assert rows[0]["ledger_unattributed_bytes"] == "-3"


def test_a_megabyte_of_text_is_cut(tmp_path):
    """It stands in the page three times, of 300 characters each, and in what is explored."""
    short, long = (
        report(
            tmp_path, [make_record(status="crashed", reason=Reason(code="exception", text=text))]
        )
        for text in ("x", "x" * 2**20)
    )
    assert len(long[0]) - len(short[0]) < 2_000


def test_columns_are_documented_and_stable(tmp_path):
    _, _, rows = report(tmp_path, pair())
    assert list(rows[0]) == list(COLUMNS)
    assert all(COLUMNS.values())
    assert {f"ledger_{owner}_bytes" for owner in OWNERS} <= set(COLUMNS)


def test_the_page_is_one_file_and_the_same_each_time(tmp_path):
    text, page, _ = report(tmp_path, pair())
    assert not {"script", "link", "iframe", "img"} & set(Page(without_own_script(text)).tags)
    assert "://" not in text.replace("http://www.w3.org", "")
    assert (
        page.tags.count("svg") == 3
    )  # ledgers in two widths and one waterfall; these records have no phases
    assert report(tmp_path, pair()[::-1])[0] == text


def test_a_report_of_one_failed_record(tmp_path):
    reason = Reason(code="timeout", text="t")
    _, page, rows = report(tmp_path, [make_record(status="timeout", reason=reason)])
    assert "Nothing was measured." in page.text
    assert len(rows) == 1


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_report(Loaded(records=pair(), refused=[]), tmp_path / "file" / "r.html")


def test_the_same_cell_on_two_devices_has_two_ledgers(tmp_path):
    """6 and 10 MiB on one, 12 and 20 on the other."""
    records = [
        msgspec.structs.replace(
            make_record(peak=factor * peak * MIB, method=method),
            provenance=Provenance(device=device, environment_digest="e"),
        )
        for device, factor in (("Card A", 1), ("Card B", 2))
        for method, peak in (("dpo", 6), ("ppo", 10))
    ]
    text, _, _ = report(tmp_path, records)
    chart = text[text.index("Bytes at the peak of one step by owner") :].partition("</svg>")[0]
    for device in ("Card A", "Card B"):
        assert f"DPO llama full on {device}" in chart


def test_beyond_so_many_cells_the_latest_are_shown_and_the_rest_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("alignmeter_reports.view.MOST_CELLS", 3)
    records = []
    for day in range(1, 6):
        record = make_record(batch=day)
        place = Provenance(device="cpu", environment_digest="e", started=f"2026-01-0{day}")
        records.append(msgspec.structs.replace(record, provenance=place))
    text, page, rows = report(tmp_path, records)
    assert len(rows) == 5
    assert "These are the 3 cells that were measured last, of 5." in page.text
    for day, record in enumerate(records, 1):
        assert (f'id="cell-{record.cell.id}"' in text) == (day > 2)


def test_replicates_that_fail_alike_are_one_row(tmp_path):
    reason = Reason(code="timeout", text="after 600 s")
    failed = [make_record(status="timeout", reason=reason, replicate=k) for k in range(8)]
    _, page, _ = report(tmp_path, failed[:3])
    assert [row[2] for row in page.rows if len(row) == 5 and row[3] == "timeout"] == ["0, 1, 2"]
    _, page, _ = report(tmp_path, failed)
    assert "8 replicates" in [row[2] for row in page.rows if len(row) == 5]
