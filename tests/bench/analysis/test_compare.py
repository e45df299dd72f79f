"""`alignmeter compare` over constructed records: every verdict, every refusal, every output."""

import json
import random
import statistics
from collections import Counter
from xml.etree import ElementTree as ET

import msgspec
import pytest
from click.testing import CliRunner
from intervals import Machine
from made_records import make_record

from alignmeter.analysis.compare import (
    bencher_json,
    compare,
    failures,
    junit_xml,
    markdown_text,
    parse_gates,
)
from alignmeter.analysis.compare.markdown import MARKDOWN_LIMIT_BYTES
from alignmeter.analysis.intervals import outcome, ratio
from alignmeter.analysis.metrics import METRICS
from alignmeter.cli.compare import compare as command
from alignmeter.errors import InputError
from alignmeter.records.folder import write_record
from alignmeter.records.record import Energy, Reason, Throughput, Timing, Verdict
from alignmeter.terminal import tables
from alignmeter.terminal.comparison import comparison_parts

LEVELS = (0.999, 1.0, 1.001, 1.0, 0.9995, 1.0005)
NOISY = (0.8, 1.0, 1.3, 0.9, 1.1, 1.2)
FULL = make_record()
LORA = make_record(peft="lora")
HOSTILE = 'a|b`c`<script>alert(1)</script>\n\x1b[31m\u202e[x](javascript:y) ]]> & "q" \x00'


def replicate(made=FULL, number=0, *, factor=1.0, peak=1000, joules=None, bad=(), device="cpu",
              **provenance):  # fmt: skip
    """One record: ``factor`` times 0.2 s a step; ``bad``: metrics that are invalid."""
    reason = Reason(code="host_loaded", text="others used 80 %")
    none = Reason(code="energy_unavailable", text="no counter")
    validity = {
        name: Verdict(ok=name not in bad, reasons=[reason] if name in bad else [])
        for name in ("time", "memory", "energy", "numerics")
    }
    if joules is None:
        validity["energy"] = Verdict(ok=False, reasons=[none])
        energy = Energy(source="none", reason=none)
    else:
        energy = Energy(source="counter", scope="gpu", per_step_j=joules)
    seconds = 0.2 * factor
    return msgspec.structs.replace(
        made,
        replicate=number,
        timing=Timing(step_s=[0.5 * seconds, seconds, 9 * seconds], median_s=seconds),
        memory=msgspec.structs.replace(made.memory, allocated_peak_bytes=peak),
        ledger={},
        energy=energy,
        throughput=Throughput(trained_tokens_per_s=100 / seconds),
        validity=validity,
        provenance=msgspec.structs.replace(made.provenance, device=device, **provenance),
    )


def replicates(made=FULL, *, factor=1.0, levels=LEVELS, joules=None, **rest):
    """As many as there are levels: run-to-run noise."""
    return [
        replicate(made, k, factor=factor * level,
                  joules=None if joules is None else joules * level, **rest)
        for k, level in enumerate(levels)
    ]  # fmt: skip


def failed_record(status, made=FULL, text="it went wrong"):
    reason = Reason(code="exception", text=text)
    return msgspec.structs.replace(
        made, status=status, reason=reason, timing=Timing(), validity={}, ledger={}
    )


def rows(base, new, **options):
    return {row.metric: row for row in compare(base, new, **options).rows}


def test_a_slower_cell_with_more_memory_and_more_energy():
    found = rows(replicates(joules=50.0), replicates(factor=1.05, peak=1010, joules=55.0))
    assert {name: row.verdict for name, row in found.items()} == dict.fromkeys(METRICS, "regressed")
    time, memory = found["time"], found["memory"]
    assert time.effect_percent == pytest.approx(5.0)
    assert 1.04 < time.low < time.ratio < time.high < 1.06
    assert (time.base.value, time.base.replicates) == (pytest.approx(0.2), 6)
    assert time.new.value == pytest.approx(0.21)
    assert time.new.low < time.new.value < time.new.high
    assert memory.ratio == memory.low == memory.high == pytest.approx(1.01)
    assert found["tokens"].effect_percent == pytest.approx(100 / 1.05 - 100)


def test_the_other_way_round_it_improved():
    found = rows(replicates(factor=1.05, peak=1010, joules=55.0), replicates(joules=50.0))
    assert {name: row.verdict for name, row in found.items()} == dict.fromkeys(METRICS, "improved")


def test_equal_and_inconclusive():
    found = rows(replicates(joules=50.0), replicates(factor=1.01, peak=1009, joules=50.5))
    assert {name: row.verdict for name, row in found.items()} == dict.fromkeys(METRICS, "equal")
    found = rows(replicates(), replicates(factor=1.05, levels=NOISY))
    assert (found["time"].verdict, found["tokens"].verdict) == ("inconclusive", "inconclusive")
    assert found["memory"].verdict == "equal"


def test_two_replicates_give_no_verdict_on_time_but_one_on_bytes():
    found = rows(replicates(), replicates(factor=2.0, peak=2000, levels=(1.0, 1.0)))
    assert found["time"].verdict == "not available"
    assert found["time"].reason == "fewer than 3 replicates (BASE 6, NEW 2)"
    assert (found["time"].ratio, found["time"].low) == (pytest.approx(2.0), None)
    assert found["memory"].verdict == "regressed"


def test_in_pairs_a_noisy_machine_hides_nothing():
    """Both sides have the noise of their rounds: side by side it hides 5 %, in pairs it is gone."""
    base, new = replicates(levels=NOISY), replicates(levels=NOISY, factor=1.05, peak=1010)
    assert rows(base, new)["time"].verdict == "inconclusive"
    found = rows(base, new, paired=True)
    assert {found[name].verdict for name in ("time", "tokens", "memory")} == {"regressed"}
    assert found["time"].low == pytest.approx(1.05)
    assert found["time"].high == pytest.approx(1.05)
    assert found["time"].base == rows(base, new)["time"].base
    (first, *_) = tables.lines(comparison_parts(compare(base, new, paired=True), []))
    assert first == "1 cell compared, 6 replicates a side, in pairs"


def test_pairs_are_replicates_of_one_number_that_both_may_rank():
    """Of six and five only four have a partner; of two there is no interval, of none no figure."""
    base = [replicate(number=k, factor=level) for k, level in enumerate(NOISY)]
    new = [replicate(number=k, factor=1.05 * NOISY[k]) for k in (5, 4, 3, 2)]
    alone = replicate(number=9, factor=7.0)
    found = rows(base, [*new, alone], paired=True)["time"]
    assert (found.verdict, found.ratio) == ("regressed", pytest.approx(1.05))
    spoiled = [replicate(number=k, bad=["time"]) for k in (2, 3)]
    found = rows(base, [*new[:2], *spoiled, alone], paired=True)["time"]
    assert (found.verdict, found.ratio) == ("not available", pytest.approx(1.05))
    assert found.reason.startswith("fewer than 3 pairs of replicates (2 pairs)")
    apart = [replicate(number=k) for k in (7, 8, 9)]
    found = rows(base, apart, paired=True)
    assert (found["time"].verdict, found["time"].ratio) == ("not available", None)
    assert found["time"].reason == "no replicate has its partner in the other run"
    assert found["memory"].verdict == "equal"


def test_what_nobody_measured_is_not_available_with_its_reason():
    found = rows(replicates(), replicates())["energy"]
    assert (found.verdict, found.reason, found.ratio) == ("not available", "no counter", None)
    assert not found.lost


def test_a_minimum_effect_of_ones_own():
    base, new = replicates(), replicates(factor=1.05, peak=1010)
    found = rows(base, new, minimum={"time": 0.1, "memory": 0.02})
    assert (found["time"].verdict, found["memory"].verdict) == ("equal", "equal")
    assert found["tokens"].verdict == "regressed"


def test_an_invalid_metric_is_never_ranked_and_the_others_are():
    found = rows(replicates(), replicates(factor=2.0, peak=2000, bad=("time",)))
    assert (found["time"].verdict, found["tokens"].verdict) == ("invalid", "invalid")
    assert found["time"].reason == "NEW: host_loaded in 6 of 6 replicates"
    assert found["time"].ratio is None
    assert found["time"].lost
    assert found["memory"].verdict == "regressed"
    before = rows(replicates(bad=("memory",)), replicates())["memory"]
    assert (before.verdict, before.lost) == ("invalid", False)


def test_spoiled_replicates_are_left_out_while_three_are_left():
    spoiled = [replicate(number=k, factor=9.0, bad=("time",)) for k in range(2)]
    found = rows(replicates(), [*replicates()[:4], *spoiled])["time"]
    assert (found.verdict, found.new.replicates) == ("equal", 4)
    assert found.reason == "NEW: left out host_loaded in 2 of 6 replicates"
    found = rows(replicates(), [*replicates()[:2], *spoiled])["time"]
    assert (found.verdict, found.lost) == ("invalid", True)


def test_a_metric_that_nobody_judged_is_invalid():
    new = [msgspec.structs.replace(record, validity={}) for record in replicates()]
    assert rows(replicates(), new)["memory"].reason == "NEW: not judged in 6 of 6 replicates"


def test_wrong_numbers_in_one_replicate_are_lost_correctness():
    new = [*replicates()[:5], replicate(number=5, bad=("numerics",))]
    found = rows(replicates(), new)["numerics"]
    assert (found.verdict, found.lost) == ("invalid", True)
    assert found.reason == "NEW: host_loaded: others used 80 %"
    assert not rows(new, new)["numerics"].lost
    assert rows(new, replicates())["numerics"].verdict == "gained"


def test_a_figure_that_base_had_and_new_has_not_is_lost():
    new = [msgspec.structs.replace(r, throughput=Throughput()) for r in replicates()]
    found = rows(replicates(), new)["tokens"]
    assert (found.verdict, found.reason, found.lost) == (
        "not available", "no figure in NEW", True)  # fmt: skip


def test_energy_of_another_source_is_refused():
    new = [
        msgspec.structs.replace(r, energy=Energy(source="counter", scope="module", per_step_j=9.0))
        for r in replicates(joules=9.0)
    ]
    found = rows(replicates(joules=9.0), new)["energy"]
    assert (found.verdict, found.lost) == ("refused", True)
    assert found.reason == "unlike: counter of gpu in BASE, counter of module in NEW"


def test_energy_with_the_time_between_steps_in_it_is_refused():
    """Earlier versions counted it; where idle power is unknown it still is."""

    def of(gaps):
        energy = Energy(source="counter", scope="gpu", gaps=gaps, per_step_j=9.0)
        return [msgspec.structs.replace(r, energy=energy) for r in replicates(joules=9.0)]

    assert rows(of(None), of("counted"))["energy"].verdict == "equal"
    found = rows(of(None), of("subtracted"))["energy"]
    assert found.verdict == "refused"
    assert found.reason == (
        "unlike: counter of gpu in BASE, counter of gpu without gaps between steps in NEW"
    )


@pytest.mark.parametrize("wrong", [0.0, -1.0, 1e-300, 1e300])
def test_figures_that_cannot_be_are_no_figures(wrong):
    new = [
        msgspec.structs.replace(r, timing=Timing(step_s=[wrong] * 3, median_s=wrong))
        for r in replicates()
    ]
    assert rows(replicates(), new)["time"].reason == "no figure in NEW"


@pytest.mark.parametrize("status", ["oom", "unsupported", "timeout", "crashed", "predicted_oom"])
def test_a_cell_that_was_ok_is_lost(status):
    found = compare(replicates(), [failed_record(status)])
    (row,) = found.rows
    assert (row.metric, row.verdict, row.lost) == ("status", "lost", True)
    assert row.reason == f"ok in BASE, {status} in NEW: it went wrong"
    assert failures(found, {"energy": 0.03}) == [row]  # whatever the gates are


def test_one_replicate_that_crashes_is_enough_unless_it_did_before():
    crashed = failed_record("crashed")
    found = rows(replicates(), [*replicates(), crashed])
    assert found["status"].reason == (
        "ok in BASE, crashed in NEW in 1 of 7 replicates: it went wrong"
    )
    assert found["time"].verdict == "equal"
    assert "status" not in rows([*replicates(), crashed], [*replicates(), crashed])
    assert rows([*replicates(), crashed], [crashed])["status"].verdict == "lost"


def test_a_missing_cell_is_lost_and_the_nearest_is_named():
    other = make_record(peft="lora", seq_len=128, data="synthetic")
    found = compare([*replicates(), *replicates(LORA)], [*replicates(), *replicates(other)])
    lost = found.rows[0]
    assert (lost.cell_id, lost.verdict) == (LORA.cell.id, "lost")
    assert lost.reason == (
        f"ok in BASE, missing in NEW; {other.cell.id} there differs in "
        "seq_len (64 in BASE, 128 in NEW), prompt_len (32 in BASE, 64 in NEW)"
    )
    gained = found.rows[-1]
    assert (gained.verdict, gained.reason) == ("gained", "not in BASE, ok in NEW")


def test_a_cell_that_was_never_ok_fails_nothing():
    oom = failed_record("oom", LORA)
    found = compare([*replicates(), oom], [*replicates(), *replicates(LORA)])
    assert found.rows[-1].reason == "oom in BASE, ok in NEW"
    again = compare([*replicates(), oom], [*replicates(), oom])
    gone = compare([*replicates(), oom], replicates())
    assert "oom in BASE, oom in NEW" in {row.reason for row in again.rows}
    assert "oom in BASE, missing in NEW" in {row.reason for row in gone.rows}
    assert failures(found, None) == failures(again, None) == failures(gone, None) == []


@pytest.mark.parametrize(
    ("field", "ours", "theirs"),
    [
        ("device", "NVIDIA A100", "NVIDIA H100"),
        ("form_factor", "SXM", "PCIe"),
        ("partition", "SPX", "CPX"),
        ("power_cap_w", 700.0, 350.0),
        ("threads", 2, 8),
        ("tokenizer", "bytes", "bpe"),
        ("hyperparameters", {"beta": 0.1}, {"beta": 0.2}),
        ("peft", {"alpha": 32}, {"alpha": 16}),
        ("lora_targets", ["in_proj"], ["out_proj"]),
    ],
)
def test_unlike_cells_are_refused_by_the_field_that_differs(field, ours, theirs):
    base, new = replicates(**{field: ours}), replicates(**{field: theirs})
    with pytest.raises(InputError, match=f"{field}.* in BASE, .* in NEW") as refused:
        compare(base, new)
    assert FULL.cell.id in str(refused.value)
    found = compare([*base, *replicates(LORA)], [*new, *replicates(LORA)])
    row = found.rows[0]
    assert (row.verdict, row.cell_id, row.lost) == ("refused", FULL.cell.id, True)
    assert row.reason.startswith(f"unlike: {field}")


def test_each_device_has_its_partner():
    base = [*replicates(device="A"), *replicates(device="B", factor=2.0)]
    new = [*replicates(device="B", factor=2.0), *replicates(device="A")]
    found = compare(base, new)
    assert found.compared == 2
    assert {(row.device, row.verdict) for row in found.rows if row.metric == "time"} == {
        ("A", "equal"), ("B", "equal")}  # fmt: skip
    assert f"{FULL.cell.id} on A" in "\n".join(tables.lines(comparison_parts(found, [])))


def test_a_worker_that_died_early_belongs_to_its_cell_all_the_same():
    """It never told its form factor; a sampler that failed once told no power cap."""
    known = {"form_factor": "SXM", "power_cap_w": 700.0}
    new = [*replicates(**known)[:5], replicate(number=5, form_factor="SXM")]
    found = compare(replicates(**known), [failed_record("crashed"), *new])
    assert found.compared == 1
    assert found.rows[0].reason.startswith("ok in BASE, crashed in NEW in 1 of 7")
    assert next(row for row in found.rows if row.metric == "time").new.replicates == 6


def test_nothing_alike_names_the_axis():
    other = make_record(seq_len=128)
    with pytest.raises(InputError, match=r"differ in seq_len \(64 in BASE, 128 in NEW\)"):
        compare(replicates(), replicates(other))
    with pytest.raises(InputError, match=r"no cell of NEW is like one of BASE$"):
        compare(replicates(), replicates(make_record(method="ppo", architecture="mamba",
                                                     peft="qlora", batch=1)))  # fmt: skip


def test_software_is_reported_and_kernel_paths_stand_beside_the_cell():
    old = {"versions": {"torch": "2.12.0"}, "commit": "a" * 40, "kernel_path": {"scan": "native"}}
    new = {"versions": {"torch": "2.13.0"}, "commit": "b" * 40 + "+1234abcd", "driver": "580"}
    base = [*replicates(**old), *replicates(LORA, **old)]
    other = [*replicates(**new, kernel_path={"scan": "portable"}), *replicates(LORA, **new,
             kernel_path={"scan": "portable"}, environment={"OMP_NUM_THREADS": "1"})]  # fmt: skip
    found = compare(base, other)
    assert found.differences == [
        f"commit {'a' * 12} -> {'b' * 12}+1234abcd", "driver none -> 580", "torch 2.12.0 -> 2.13.0",
    ]  # fmt: skip
    own = {row.cell_id: row.differences for row in found.rows}
    assert own[FULL.cell.id] == ["kernel path.scan native -> portable"]
    assert own[LORA.cell.id] == [
        "environment.OMP_NUM_THREADS none -> 1", "kernel path.scan native -> portable"]  # fmt: skip


def test_gates_parse():
    assert parse_gates("time:3%,memory:1%") == {"time": 0.03, "memory": 0.01}
    assert parse_gates(" tokens:0.5% , energy:12% ") == {"tokens": 0.005, "energy": 0.12}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("speed:3%", "'speed' is not a metric; known: time, memory, energy, tokens"),
        ("time", "'time' is not a gate"),
        ("time:3", "'time:3' is not a gate"),
        ("time=3%", "not a gate"),
        ("", "'' is not a gate"),
        ("time:3%,", "'' is not a gate"),
        ("time:3%,time:4%", "time is given twice"),
        ("time:0%", "'0%' of time is not above 0 %"),
        ("time:-3%", "not above 0 %"),
        ("time:nan%", "not above 0 %"),
        ("time:inf%", "not above 0 %"),
        ("time:1e1%", "not above 0 %"),
        ("time:1.2.3%", "not above 0 %"),
        ("time: 3%", "not above 0 %"),
        ("time:\u0663%", "not above 0 %"),
    ],
)
def test_wrong_gates_are_one_sentence(text, words):
    with pytest.raises(InputError) as refused:
        parse_gates(text)
    assert words in str(refused.value)


def test_only_the_gates_that_are_named_fail():
    found = compare(replicates(), replicates(factor=1.05, peak=1010))
    assert {row.metric for row in failures(found, None)} == {"time", "tokens", "memory"}
    assert {row.metric for row in failures(found, {"memory": 0.01})} == {"memory"}
    assert failures(found, {"energy": 0.03}) == []


@pytest.fixture
def mixed():
    """One of everything: lost, refused, regressed, invalid, inconclusive, equal, improved."""
    mamba, gone = make_record(architecture="mamba"), make_record(batch=4)
    base = [*replicates(joules=9.0), *replicates(LORA), *replicates(mamba), *replicates(gone)]
    new = [
        *replicates(factor=1.06, joules=4.0),
        *replicates(LORA, levels=NOISY, peak=900),
        *replicates(mamba, bad=("time",)),
    ]
    return compare(base, new)


def test_terminal_is_80_columns_wide_and_worst_first(mixed):
    failed = failures(mixed, None)
    lines = tables.lines(comparison_parts(mixed, failed))
    assert max(map(len, lines)) <= 80
    order = ["status lost", "invalid", "regressed", "inconclusive"]
    places = [next(n for n, line in enumerate(lines) if word in line) for word in order]
    assert places == sorted(places)
    time = next(line.split() for line in lines if line.startswith("  time ") and "212" in line)
    assert " ".join(time) == "time 200 ms 212 ms +6.00 % [+5.90, +6.10] regressed"
    assert lines[-1] == "failed: 5 verdicts in 3 cells"
    assert "energy not available in 2 cells: no counter" in lines
    assert "3 cells compared, 6 replicates a side" in lines


def test_junit_has_a_failure_for_each_failed_gate(mixed):
    failed = failures(mixed, None)
    root = ET.fromstring(junit_xml(mixed, failed))  # noqa: S314 - our own output
    suite = root.find("testsuite")
    assert suite.get("tests") == str(len(root.findall(".//testcase"))) == str(len(mixed.rows))
    assert suite.get("failures") == str(len(root.findall(".//failure"))) == "5"
    assert suite.get("skipped") == str(len(root.findall(".//skipped")))
    case = root.find(f".//testcase[@classname='{FULL.cell.id}'][@name='time']")
    assert case.find("failure").get("type") == "regressed"
    assert case.find("failure").get("message") == (
        "200 ms -> 212 ms +6.00 % [+5.90, +6.10] regressed"
    )


def test_bencher_takes_news_figures_in_its_units(mixed):
    found = json.loads(bencher_json(mixed))
    measures = found[FULL.cell.id]
    assert set(measures) == {"latency", "memory", "energy", "throughput"}
    latency = measures["latency"]
    assert latency["value"] == pytest.approx(0.212e9)  # ns
    assert latency["lower_value"] < latency["value"] < latency["upper_value"]
    assert measures["memory"] == {"value": 1000.0}
    assert measures["throughput"]["value"] == pytest.approx(100 / 0.212)
    mamba = next(measures for name, measures in found.items() if "mamba" in name)
    assert set(mamba) == {"memory"}  # its times are invalid


def test_markdown_marks_what_failed(mixed):
    text = markdown_text(mixed, failures(mixed, None))
    assert text.startswith("### alignmeter compare: 5 failed\n")
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table} == {9}
    assert "**lost**" in table[2]
    assert "| 200 ms | 212 ms | +6.00 % |" in text
    assert "- energy not available in 2 cells: no counter" in text


def test_hostile_names_stay_text():
    bad = msgspec.structs.replace(FULL, cell=msgspec.structs.replace(FULL.cell, id=HOSTILE))
    paths = {HOSTILE: "a"}, {HOSTILE: HOSTILE}
    base = [*replicates(bad, device=HOSTILE, kernel_path=paths[0]), *replicates(LORA)]
    new = [*replicates(bad, device=HOSTILE, factor=2.0, kernel_path=paths[1], host=HOSTILE),
           failed_record("crashed", LORA, HOSTILE)]  # fmt: skip
    found = compare(base, new)
    failed = failures(found, None)
    lines = tables.lines(comparison_parts(found, failed))
    assert all(line.isprintable() and len(line) <= 80 for line in lines)
    text = markdown_text(found, failed)
    assert not {"<", ">", "`", "[", "\x00", "\x1b", "\u202e"} & set(text)
    assert {line.count("|") for line in text.splitlines() if line.startswith("|")} == {9}
    cases = ET.fromstring(junit_xml(found, failed)).findall(".//testcase")  # noqa: S314
    assert any("<script>alert(1)</script>" in case.get("classname") for case in cases)
    assert any("<script>" in name for name in json.loads(bencher_json(found)))


@pytest.mark.full
def test_markdown_of_thousands_of_cells_fits_a_job_summary():
    def named(k):
        cell = msgspec.structs.replace(FULL.cell, batch=k + 3, id=f"{k:06}-{'x' * 90}")
        return msgspec.structs.replace(FULL, cell=cell)

    cells = [named(k) for k in range(5000)]
    path = {"scan": "\N{LATIN SMALL LETTER E WITH ACUTE}" * 90}  # two bytes each
    base = [replicate(cell) for cell in cells]
    new = [replicate(cell, peak=1000 + k % 9, kernel_path=path) for k, cell in enumerate(cells)]
    new[-1] = replicate(cells[-1], peak=1200)
    found = compare(base, new)
    text = markdown_text(found, failures(found, None))
    assert len(text.encode()) <= MARKDOWN_LIMIT_BYTES < 1024 * 1024
    assert len(text.encode()) > 0.9 * MARKDOWN_LIMIT_BYTES
    first, last = text.splitlines()[6], text.splitlines()[-1]
    assert "004999-" in first
    assert "**regressed**" in first
    assert "rows more, none of them worse, are left out here." in text
    assert last.startswith("- tokens not available in 5000 cells: fewer than 3")


def store(folder, records):
    for number, record in enumerate(records):
        write_record(folder, msgspec.structs.replace(record, replicate=number))
    return str(folder)


def call(*arguments):
    return CliRunner().invoke(command, list(arguments))


def test_the_command_writes_everything_and_says_1(tmp_path):
    base = store(tmp_path / "base", replicates())
    new = store(tmp_path / "new", replicates(factor=1.05))
    files = {name: tmp_path / f"out.{name}" for name in ("md", "junit", "bmf")}
    options = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    done = call(base, new, *options)
    assert done.exit_code == 1, done.output
    assert "failed: 2 verdicts in 1 cell" in done.output
    assert "\x1b" not in done.output
    assert files["md"].read_text().startswith("### alignmeter compare: 2 failed")
    assert len(ET.parse(files["junit"]).findall(".//failure")) == 2  # noqa: S314 - our own
    assert list(json.loads(files["bmf"].read_text())) == [FULL.cell.id]
    assert call(base, new, "--fail-on", "time:6%").exit_code == 0
    assert call(base, new, "--fail-on", "time:4%").exit_code == 1
    assert call(base, base).exit_code == 0
    paired = call(base, new, "--paired")
    assert paired.exit_code == 1
    assert "6 replicates a side, in pairs" in paired.output


def test_a_gate_without_any_verdict_is_said(tmp_path):
    base = store(tmp_path / "base", replicates(levels=(1.0,)))
    done = call(base, base, "--fail-on", "time:3%,memory:1%")
    assert done.exit_code == 1
    assert "could not be judged: time (not available in 1 cell)" in done.output
    assert "nothing failed" not in done.output
    assert call(base, base, "--fail-on", "time:3%", "--allow-unjudged").exit_code == 0
    assert call(base, base, "--fail-on", "memory:1%").exit_code == 0


def test_invalid_figures_are_shown_and_nothing_is_said_to_hold(tmp_path):
    """Memory is judged, so `--fail-on memory` passes; without gates the time counts too."""
    base = store(tmp_path / "base", replicates())
    new = store(tmp_path / "new", replicates(factor=2.0, bad=("time", "tokens")))
    store(tmp_path / "blind", replicates(bad=("time", "tokens")))
    page, figures = tmp_path / "out.md", tmp_path / "out.json"
    blind = str(tmp_path / "blind")
    done = call(blind, new, "--md", str(page), "--bmf", str(figures))
    assert done.exit_code == 1
    assert (
        "could not be judged: time (invalid in 1 cell), tokens (invalid in 1 cell)" in done.output
    )
    assert "(200 ms)" in done.output
    assert "(400 ms)" in done.output
    assert "nothing failed" not in done.output
    assert page.read_text().startswith("### alignmeter compare: could not be judged: time")
    assert "latency" not in figures.read_text()
    assert call(blind, new, "--allow-unjudged").exit_code == 0
    assert call(blind, new, "--fail-on", "memory:1%").exit_code == 0
    assert "failed: 2 verdicts" in call(base, new).output  # lost, which no option forgives
    assert call(base, new, "--allow-unjudged").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["base", "none"], "none: no such folder"),
        (["empty", "base"], "no records in empty"),
        (["base", "other"], r"differ in seq_len \(64 in BASE, 128 in NEW\)"),
        (["base", "base", "--fail-on", "speed:3%"], "'speed' is not a metric"),
        (["base", "base", "--md", "/dev/null"], "/dev/null: not a file"),
        (["base", "base", "--md", "base/run.txt/x"], "cannot be written"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, monkeypatch, arguments, words):
    """`main` turns `InputError` into exit status 2."""
    monkeypatch.chdir(tmp_path)
    store(tmp_path / "base", replicates())
    store(tmp_path / "other", replicates(make_record(seq_len=128)))
    (tmp_path / "empty").mkdir()
    (tmp_path / "base" / "run.txt").write_text("")
    done = call(*arguments)
    assert isinstance(done.exception, InputError)
    assert len(str(done.exception).splitlines()) == 1
    with pytest.raises(InputError, match=words):
        raise done.exception


def test_a_file_that_is_no_record_is_named_and_the_rest_is_compared(tmp_path):
    base, new = store(tmp_path / "base", replicates()), store(tmp_path / "new", replicates())
    (tmp_path / "new" / "foreign.json").write_text("{}")
    done = call(base, new)
    assert done.exit_code == 2
    assert "foreign.json: schema_version is None" in done.stderr
    assert "nothing failed" in done.output


def test_simulated_records_get_the_verdicts_of_their_medians():
    """From step times to the verdict: a replicate counts with its median, and counts once."""
    rng = random.Random(11)
    machine = Machine(run_noise=0.015, step_noise=0.015)
    counts = Counter()
    for _ in range(60):
        base, new = ([machine.step_times(rng, factor) for _ in range(6)] for factor in (1.0, 1.05))
        sides = [
            [
                msgspec.structs.replace(replicate(number=k), timing=Timing(step_s=steps))
                for k, steps in enumerate(side)
            ]
            for side in (base, new)
        ]
        verdict = rows(*sides)["time"].verdict
        medians = [[statistics.median(steps) for steps in side] for side in (new, base)]
        assert verdict == outcome(ratio(*medians), 0.03)
        counts[verdict] += 1
    assert counts["regressed"] >= 50
