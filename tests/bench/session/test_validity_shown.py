"""Records with an invalid metric are shown with its reason, and rank nowhere."""

from xml.etree import ElementTree as ET

from click.testing import CliRunner
from made_records import make_record
from msgspec.structs import replace

from alignmeter.analysis.delta import deltas
from alignmeter.cli import cli
from alignmeter.records.folder import write_record
from alignmeter.records.reasons import REASONS
from alignmeter.records.record import Numerics, Provenance, Reason, Signal, Timing, Verdict
from alignmeter.terminal import tables
from alignmeter.terminal.summary import summary_parts


def spoiled(record, metric, *codes):
    reasons = [Reason(code=code, text="the particulars") for code in codes]
    verdict = Verdict(ok=not reasons, reasons=reasons)
    return replace(record, validity={**record.validity, metric: verdict})


def pair(**axes):
    return [make_record(method=method, **axes) for method in ("dpo", "ppo")]


def words(records):
    lines = tables.lines(summary_parts(records))
    assert max(map(len, lines)) <= 80
    return " ".join(" ".join(lines).split())


def test_each_code_is_counted_explained_and_has_its_remedy():
    dpo, ppo = pair()
    records = [spoiled(dpo, "time", "host_loaded", "throttled"), spoiled(ppo, "time", "throttled")]
    text = words(records)
    assert "time host_loaded 1 of 2" in text
    assert "time throttled 2 of 2" in text
    for code in ("host_loaded", "throttled"):
        assert f"{REASONS[code].meaning}; what helps: {REASONS[code].remedy}" in text
    assert "clock_drift" not in text


def test_a_cell_without_figures_has_its_reason_too():
    out = make_record(method="ppo", status="oom", reason=Reason(code="out_of_memory", text="8 GiB"))
    text = words([*pair(), out])
    assert f"oom out_of_memory 1 of 3 {REASONS['out_of_memory'].meaning}" in text


def test_a_code_of_another_version_is_shown_as_it_is():
    text = words([spoiled(pair()[0], "time", "of_tomorrow\x1b[31m")])
    assert "time of_tomorrow [31m 1 of 1" in text


def test_nothing_is_reported_where_all_is_valid():
    records = [replace(r, validity={"memory": Verdict(ok=True)}) for r in pair()]
    assert "invalid" not in words(records)


def test_invalid_memory_makes_no_delta_and_is_named():
    dpo, ppo = pair()
    assert len(deltas([dpo, ppo])) == 1
    gap = spoiled(ppo, "memory", "ledger_gap")
    assert deltas([dpo, gap]) == []
    text = words([dpo, gap])
    assert "memory ledger_gap 1 of 2" in text
    assert "no DPO-vs-PPO delta" in text


def test_warmup_is_shown():
    records = [
        replace(record, timing=Timing(warmup_s=[0.1] * count, step_s=[0.1], median_s=0.1))
        for record, count in zip(pair(), (2, 7), strict=True)
    ]
    assert "warm-up: 2 to 7 steps per replicate" in words(records)
    assert "warm-up: 2 steps per replicate" in words(records[:1])


def test_compare_says_whether_devices_of_one_cell_agree(tmp_path):
    """Both devices' times stand in the table, so what makes them comparable does too."""
    for accelerator, loss in (("cuda", 1.0), ("rocm", 2.0)):
        signal = Signal(name="loss", measured=[loss], reference=[1.0], band=0.04)
        record = replace(
            make_record(method="dpo", accelerator=accelerator, precision="bf16"),
            numerics=Numerics(losses=[loss], agreement=[signal], agrees=signal.agrees),
            provenance=Provenance(device=f"{accelerator} chip", environment_digest="e"),
        )
        write_record(tmp_path / "run", record)
    run, md, junit = tmp_path / "run", tmp_path / "out.md", tmp_path / "out.xml"
    done = CliRunner().invoke(
        cli, ["compare", str(run), str(run), "--md", str(md), "--junit", str(junit)]
    )
    suite = ET.parse(junit).find("testsuite")  # noqa: S314 - our own output
    for said in (done.output, md.read_text(), suite.findtext("system-out")):
        assert "numbers between devices: 1 differ" in said
        assert "differ: loss 1 apart (band 0.057)" in " ".join(said.split())
