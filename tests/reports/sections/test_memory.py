"""Where the memory goes: waterfalls, what surrounds the ledger, and the plan, read off the page."""

import csv
import html
import io
import re

import msgspec
import pytest
from made_records import make_record
from own_script import without_own_script

from alignmeter.analysis.delta import deltas
from alignmeter.records.folder import Loaded
from alignmeter.records.record import Memory, Provenance, Reason, Telemetry, Verdict
from alignmeter.units import GIB, MIB
from alignmeter_reports import write_report
from alignmeter_reports.delta_table import DELTA_COLUMNS
from alignmeter_reports.drawing.memory_charts import Point, Step, diagonal, waterfall
from alignmeter_reports.sections.delta import delta_rows, waterfalls

DASH = "\N{EN DASH}"
DAGGER = "\N{DAGGER}"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7*7 }}$\\frac$"


def matrix(page):
    """The rows of the table of all cells, by the heads of its columns."""
    head, *rows = rows_of(section(page, "matrix"))
    return [dict(zip(head, row, strict=True)) for row in rows]


@pytest.fixture
def report(tmp_path):
    """A function of records that gives the page and the rows of the CSV."""

    def write(*records):
        loaded = Loaded(records=list(records), refused=[])
        write_report(loaded, tmp_path / "r.html", tmp_path / "r.csv")
        table = csv.DictReader(io.StringIO((tmp_path / "r.csv").read_text()))
        return (tmp_path / "r.html").read_text(), list(table)

    return write


def section(page, name):
    return page.partition(f'id="{name}"')[2].partition("</section>")[0]


def words(text):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split()).replace(" ,", ",")


def rows_of(text):
    """Every row of every table body, as words."""
    found = re.findall(r"<tr[^>]*>(.*?)</tr>", text, re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in found]
    return [[words(cell) for cell in row] for row in cells]


def pair(**axes):
    """DPO 6 MiB, PPO 10 MiB: 2 MiB of weights, 0.5 of optimizer state, 1.5 of activations."""
    dpo = make_record(
        peak=6 * MIB, ledger={"policy_weights": MIB, "optimizer_state": 2 * MIB}, **axes
    )
    ppo = make_record(
        peak=10 * MIB, method="ppo", **axes,
        ledger={"policy_weights": MIB, "value_weights": 2 * MIB, "optimizer_state": 5 * MIB // 2},
    )  # fmt: skip
    return [dpo, ppo]


def of_gpu(record, *, name="H100", telemetry=None, **peaks):
    """The record as if measured on a GPU: GiB for MiB, with these peaks beside the allocator's."""
    peak = (record.memory.allocated_peak_bytes or 0) * 1024
    named = {f"{which}_peak_bytes": count for which, count in peaks.items()}
    return msgspec.structs.replace(
        record,
        memory=Memory(kind="vram", allocated_peak_bytes=peak, **named),
        ledger={row: 1024 * count for row, count in record.ledger.items()},
        telemetry=telemetry or Telemetry(),
        provenance=Provenance(device=name, environment_digest="g"),
    )


def planned(record, predicted):
    memory = msgspec.structs.replace(record.memory, predicted_peak_bytes=predicted)
    return msgspec.structs.replace(record, memory=memory)


def test_a_waterfall_goes_from_peak_to_peak_without_a_gap():
    (row,) = delta_rows(deltas(pair()))
    assert [(step.name, step.start, step.end, step.percent) for step in row.steps] == [
        ("DPO's peak", 0, 6 * MIB, 60.0),
        ("resident weights", 6 * MIB, 8 * MIB, 20.0),
        ("trainable state", 8 * MIB, 17 * MIB // 2, 5.0),
        ("activations and rollout", 17 * MIB // 2, 10 * MIB, 15.0),
        ("PPO's peak", 0, 10 * MIB, 100.0),
    ]
    assert sum(step.bytes for step in row.parts.values()) == row.delta.bytes == 4 * MIB
    assert sum(step.percent for step in row.parts.values()) == pytest.approx(row.delta.percent)


def test_the_chart_says_in_words_what_it_draws(report):
    page, _ = report(*pair())
    delta = section(page, "delta")
    picture = delta[delta.index("<figcaption>") - 20_000 : delta.index("<figcaption>")]
    described = html.unescape(picture.rpartition("<desc>")[2].partition("</desc>")[0])
    assert described == (
        "From top to bottom: DPO's peak 6 MiB, 60.0 %; resident weights +2 MiB, +20.0 %; trainable "
        "state +512 KiB, +5.0 %; activations and rollout +1.5 MiB, +15.0 %; PPO's peak 10 MiB, "
        "100.0 %."
    )
    caption = "llama full, separate, sequential, cpu (CPU tensor storage)"
    assert f"<figcaption>{caption}</figcaption>" in delta
    assert f"<title>From DPO&#x27;s peak to PPO&#x27;s: {caption}</title>" in delta
    assert f'<data value="{4 * MIB}">4 MiB</data>' in delta


def test_what_ppo_saves_goes_down():
    """DPO 3 MiB with 2 of activations, PPO 2 MiB with half of one."""
    dpo = make_record(peak=3 * MIB, ledger={"policy_weights": MIB})
    ppo = make_record(
        peak=2 * MIB, method="ppo", ledger={"policy_weights": MIB, "value_weights": MIB // 2}
    )
    (row,) = delta_rows(deltas([dpo, ppo]))
    assert [step.text for step in row.steps] == [
        "3 MiB, 150.0 %", "+512 KiB, +25.0 %", "nothing", "-1.5 MiB, -75.0 %",
        "2 MiB, 100.0 %",
    ]  # fmt: skip


def test_six_charts_and_every_delta_in_the_table(report):
    """Three PEFT modes in two layouts and lora in a third, which is the one left out."""
    records = [r for peft in ("full", "lora", "qlora") for r in pair(peft=peft)]
    for peft, topology, backward in (
        ("full", "separate", "joint"),
        ("lora", "separate", "joint"),
        ("qlora", "separate", "joint"),
        ("lora", "shared", "joint"),
    ):
        records.append(pair(peft=peft, ppo_topology=topology, ppo_backward=backward)[1])
    found = deltas(records)
    captions = [view.caption for view in waterfalls(delta_rows(found))]
    assert (len(found), len(captions)) == (7, 6)
    assert not any("shared" in caption for caption in captions)
    page, _ = report(*records)
    assert "These are 6 of 7 comparisons" in words(section(page, "delta"))
    assert len([row for row in rows_of(section(page, "delta")) if row[0].startswith("llama ")]) == 7


def test_a_delta_without_ledgers_has_no_parts(report):
    records = [msgspec.structs.replace(record, ledger={}) for record in pair()]
    page, _ = report(*records)
    (row,) = [row for row in rows_of(section(page, "delta")) if row[0].startswith("llama ")]
    assert row[5:8] == [DASH, DASH, DASH]
    assert "no ledger, so the delta has no parts" in page
    assert "From DPO" not in page
    assert "no ledger" in words(section(page, "memory"))


def test_rows_of_two_machines_name_theirs(report):
    page, _ = report(*pair(), *(of_gpu(record) for record in pair()))
    said = words(section(page, "answer"))
    layout = "PPO separate, sequential DPO saves 40 %"
    assert f"cpu (CPU tensor storage) {layout} (4 MiB of 10 MiB)" in said
    assert f"H100 (VRAM) {layout} (4 GiB of 10 GiB)" in said
    rows = [row for row in rows_of(section(page, "delta")) if row[0].startswith("llama")]
    assert [row[1:4] for row in rows] == [
        ["cpu (CPU tensor storage)", "40.0 %", "4 MiB"],
        ["H100 (VRAM)", "40.0 %", "4 GiB"],
    ]


def test_the_ledger_and_what_surrounds_it(report):
    """10 GiB allocated, 11 reserved, 11.5 of the process, 12 of the device."""
    record = of_gpu(pair()[1], reserved=11 * GIB, process=23 * GIB // 2, device=12 * GIB)
    page, rows = report(record)
    found = rows_of(section(page, "memory"))
    assert found[1:] == [
        [f"PPO llama full, separate, sequential {record.cell.id[-8:]} H100",
         "10 GiB", "1 GiB", "11 GiB", "512 MiB", "11.5 GiB", "512 MiB",
         "12 GiB"],
        ["Allocated: activations 4.5 GiB, optimizer state 2.5 GiB, value weights 2 GiB, "
         "policy weights 1 GiB"],
    ]  # fmt: skip
    assert DAGGER not in page
    names = ("process_peak", "device_peak", "fragmentation", "context", "other_processes")
    assert [rows[0][f"{name}_bytes"] for name in names] == [
        str(count) for count in (23 * GIB // 2, 12 * GIB, GIB, GIB // 2, GIB // 2)
    ]


def test_gaps_that_are_missing_or_below_zero_have_a_note(report):
    telemetry = Telemetry(missing={"memory_used_bytes": "the slice tells none"})
    record = of_gpu(pair()[0], reserved=7 * GIB, process=6 * GIB, telemetry=telemetry)
    page, rows = report(record)
    memory = section(page, "memory")
    assert rows_of(memory)[1][1:] == [
        "6 GiB", "1 GiB", "7 GiB", f"-1 GiB {DAGGER}", "6 GiB", f"{DASH}{DAGGER}", DASH,
    ]  # fmt: skip
    said = words(memory)
    assert f"{DAGGER} context: below zero: samples can miss a short peak." in said
    assert f"{DAGGER} other processes: no device peak: the slice tells none." in said
    assert [rows[0][f"{name}_bytes"] for name in ("context", "other_processes")] == [str(-GIB), ""]


def test_the_cpu_shows_its_ledger_and_says_that_it_is_no_vram(report):
    page, rows = report(*pair())
    memory = section(page, "memory")
    assert "tensor storage on the CPU is not a device's memory" in words(memory)
    assert "CPU tensor storage" in words(memory)
    assert "vram" not in memory.lower()
    assert "They settle no claim about VRAM" in page
    assert "+ context" not in memory
    assert rows_of(memory)[1][1:] == [
        "6 MiB", "activations 3 MiB, optimizer state 2 MiB, policy weights 1 MiB",
    ]  # fmt: skip
    assert {row["fragmentation_bytes"] for row in rows} == {""}


def test_a_plan_beside_what_was_measured(report):
    """Planned 9 MiB for 6 and 9 for 10: 50 % above and 10 % below."""
    dpo, ppo = (planned(record, 9 * MIB) for record in pair())
    page, rows = report(dpo, ppo)
    assert rows_of(section(page, "memory"))[-2:] == [
        [
            f"DPO llama full {dpo.cell.id[-8:]} cpu",
            "CPU tensor storage",
            "9 MiB",
            "6 MiB",
            "+50.0 %",
        ],
        [
            f"PPO llama full, separate, sequential {ppo.cell.id[-8:]} cpu",
            "CPU tensor storage",
            "9 MiB",
            "10 MiB",
            "-10.0 %",
        ],
    ]
    assert "<svg" not in section(page, "memory")  # two points are no chart
    assert [row["plan"] for row in matrix(page)] == ["+50.0 %", "-10.0 %"]
    assert [row["prediction_error_percent"] for row in rows] == ["50.0", "-10.0"]
    assert {row["predicted_peak_bytes"] for row in rows} == {str(9 * MIB)}


def test_three_plans_are_a_chart(report):
    records = [planned(r, 8 * MIB) for r in (*pair(), make_record(peak=MIB, method="sft"))]
    page, _ = report(*records)
    memory = section(page, "memory")
    assert "<desc>3 points about the line where predicted equals measured.</desc>" in memory
    labels = "DPO llama", "PPO llama", "SFT llama", "equal", "10 % off"
    assert all(f">{label}</text>" in memory for label in labels)


def test_without_a_plan_nothing_is_said_of_one(report):
    page, _ = report(*pair())
    assert "Planned and measured" not in page
    assert "Does not fit" not in page
    assert all("plan" not in row for row in matrix(page))
    assert "No cell has a figure for: " in section(page, "matrix")


def test_what_a_plan_refuses_is_listed_and_not_measured(report):
    text = "needs 221 GiB; an H100-SXM has 80 GiB"
    reason = Reason(code="out_of_memory", text=text)
    refused = [
        msgspec.structs.replace(
            make_record(status="predicted_oom", reason=reason, size="8b", replicate=k),
            memory=Memory(kind="vram", predicted_peak_bytes=221 * GIB), ledger={},
        )
        for k in range(2)
    ]  # fmt: skip
    page, rows = report(*refused)
    cell_id, memory = refused[0].cell.id, section(page, "memory")
    assert rows_of(memory)[1:] == [[f"DPO llama full {cell_id[-8:]} cpu", "221 GiB", text]]
    assert "These peaks are predicted, not measured" in words(memory)
    assert "No peak was measured" in page
    (row,) = matrix(page)
    assert row["plan"] == "221 GiB planned"
    assert "peak memory" not in row
    assert rows[0]["prediction_error_percent"] == ""


def test_hostile_text_and_figures_stay_text_and_are_drawn(report):
    records = []
    for i, record in enumerate([*pair(), make_record(peak=MIB, method="sft")]):
        cell = msgspec.structs.replace(
            record.cell,
            id=HOSTILE,
            architecture=HOSTILE,
            peft="$_{" + HOSTILE,
            ppo_topology=HOSTILE,
        )
        telemetry = Telemetry(missing={"memory_process_bytes": HOSTILE * 100})
        gpu = of_gpu(record, name=HOSTILE, telemetry=telemetry, predicted=(i + 1) * GIB)
        records.append(msgspec.structs.replace(gpu, cell=cell))
    reason = Reason(code=HOSTILE, text=HOSTILE)
    memory = Memory(kind=HOSTILE, predicted_peak_bytes=-(2**62), allocated_peak_bytes=2**62)
    records += [
        msgspec.structs.replace(
            make_record(status=status, reason=reason, lane=HOSTILE), memory=memory,
            ledger={"policy_weights_bytes": 2**62}, validity={"memory": Verdict(ok=True)},
        )
        for status in ("predicted_oom", "ok")
    ]  # fmt: skip
    page, _ = report(*records)
    assert not re.search("<(script|img)", without_own_script(page))
    assert "49" not in re.findall(r"[\w{} *]+", words(section(page, "memory")))
    assert "<script>alert(1)" in words(section(page, "memory"))
    assert section(page, "memory").count("<svg") == 1
    assert section(page, "delta").count("<svg") == 1
    assert section(page, "answer").count("<svg") == 2  # for a screen and for a telephone
    assert len(page) < 150_000


def test_what_is_no_measurement_is_not_drawn_and_groups_beyond_the_signs_share_one():
    assert waterfall([Step(name="n", start=0, end=10**15, percent=1.0)], title="t") == ""
    assert diagonal([Point(group="g", measured=10**15, predicted=1)], title="t") == ""
    points = [Point(group=f"g{i}", measured=MIB << i, predicted=MIB) for i in range(12)]
    text = diagonal(points, title="t")
    assert ">g6</text>" in text
    assert ">g7</text>" not in text
    assert ">others</text>" in text


def test_the_deltas_csv_decomposes_to_the_byte(report, tmp_path):
    """4 MiB: half of it weights, an eighth optimizer state, the rest activations."""
    report(*pair())
    (row,) = csv.DictReader(io.StringIO((tmp_path / "r.delta.csv").read_text()))
    assert tuple(row) == tuple(DELTA_COLUMNS)
    parts = ("resident_weights", "trainable_state", "activations_and_rollout")
    assert [int(row[f"{part}_bytes"]) for part in parts] == [2 * MIB, MIB // 2, 3 * MIB // 2]
    assert int(row["delta_bytes"]) == 4 * MIB == sum(int(row[f"{part}_bytes"]) for part in parts)
    assert [float(row[f"{part}_percent"]) for part in parts] == [20.0, 5.0, 15.0]
    assert float(row["saved_percent"]) == 40.0


def test_where_nothing_was_measured_memory_and_time_are_among_what_is_missing(report):
    """They have a heading each, which is in the list alone."""
    (record, _) = pair()
    failed = msgspec.structs.replace(
        record, status="oom", reason=Reason(code="out_of_memory", text=""), ledger={},
        memory=Memory(kind="vram"), phases={},
    )  # fmt: skip
    page, _ = report(failed)
    missing = page[page.index("Not measured here</h2>") :]
    for name, heading in (("memory", "Where the memory goes"), ("phases", "Where the time goes")):
        assert f'<h2 id="{name}">' not in page
        assert f"<dt>{heading}</dt><dd>no " in missing
