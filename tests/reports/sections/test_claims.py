"""Every verdict rule on constructed records, and how the page shows it."""

import html
import tomllib
from importlib import resources
from pathlib import Path

import msgspec
import pytest
from made_cells import make_cell_records as make_small_records

from alignmeter.analysis import claims as claims_room
from alignmeter.analysis.claims import (
    VERDICTS,
    Claim,
    Evidence,
    claims,
    findings,
    judged,
)
from alignmeter.records.folder import Loaded
from alignmeter.records.record import Reason, Verdict
from alignmeter_reports import write_report

GPU = {"accelerator": "cuda"}
UNIT = 2**24
"""Bytes: with 400 units of weights, 6.7 GB, a policy is of the scale that claims are about."""


def make_cell_records(times, *, peak=1000, ledger=None, **axes):
    """`make_small_records` with ``peak`` and ``ledger`` in units."""
    rows = {"policy_weights": 400, **(ledger or {})}
    sized = {owner: count * UNIT for owner, count in rows.items()}
    return make_small_records(times, peak=peak * UNIT, ledger=sized, **axes)


def verdicts(records):
    return {found.claim.name: found.verdict for found in findings(records)}


def finding(records, name):
    (found,) = [found for found in findings(records) if found.claim.name == name]
    return found


def delta(saved_percent, *, count=1, **axes):
    """DPO and PPO whose peaks are so far apart."""
    dpo = make_cell_records([0.1] * count, peak=1000 - 10 * saved_percent, **axes)
    return dpo + make_cell_records([0.2] * count, peak=1000, method="ppo", **axes)


def timed(dpo, ppo, **axes):
    return make_cell_records(dpo, **axes) + make_cell_records(ppo, method="ppo", **axes)


CLOSE = [1.0, 1.001, 0.999]
SLOW = [1.5, 1.501, 1.499]
WIDE = [0.5, 1.0, 2.0]


@pytest.mark.parametrize(
    ("stances", "verdict"),
    [
        (["holds", "holds", "open"], "supported"),
        (["fails", "open", "apart"], "contradicted"),
        (["holds", "fails"], "mixed"),
        (["open", "apart"], "not measured"),
        ([], "not measured"),
    ],
)
def test_the_verdict_of_many(stances, verdict):
    claim = Claim(name="c", text="", rule="", find=lambda *_: [])
    rows = [
        Evidence(cells=(), device="", what="", figure=None, unit="", stance=stance, why="")
        for stance in stances
    ]
    found = judged(claim, rows)
    assert found.verdict == verdict
    assert len(found.evidence) == len(stances)


@pytest.mark.parametrize(
    ("percent", "less", "thirty"),
    [
        (30, "supported", "supported"),
        (25, "supported", "supported"),
        (24, "supported", "contradicted"),
        (54, "supported", "contradicted"),
        (0, "contradicted", "contradicted"),
        (-10, "contradicted", "contradicted"),
    ],
)
def test_vram_is_exact_and_takes_one_replicate(percent, less, thirty):
    found = verdicts(delta(percent, **GPU))
    assert (found["dpo-less-vram"], found["dpo-30-percent"]) == (less, thirty)


def test_a_claim_that_holds_in_some_cells_is_mixed_and_names_the_others():
    records = delta(30, **GPU) + delta(10, peft="lora", **GPU)
    found = finding(records, "dpo-30-percent")
    assert found.verdict == "mixed"
    (against,) = found.of("fails")
    assert "LoRA" in against.what
    assert against.figure.value == pytest.approx(10)
    assert against.why == "DPO saves less"


def test_a_cpu_settles_no_claim_about_vram_and_its_figure_stands_apart():
    found = finding(delta(30), "dpo-30-percent")
    assert found.verdict == "not measured"
    (apart,) = found.of("apart")
    assert apart.figure.value == pytest.approx(30)
    assert "not VRAM" in apart.why


@pytest.mark.parametrize(
    ("dpo", "ppo", "verdict", "why"),
    [
        (CLOSE, SLOW, "supported", "below 1"),
        (SLOW, CLOSE, "contradicted", "above 1"),
        (CLOSE, CLOSE, "contradicted", "equal within 3 %"),
        (WIDE, SLOW, "not measured", "leaves it open"),
        (CLOSE[:2], SLOW[:2], "not measured", "fewer than 3 replicates"),
    ],
)
def test_time(dpo, ppo, verdict, why):
    found = finding(timed(dpo, ppo), "dpo-less-time")
    assert found.verdict == verdict
    (row,) = found.evidence
    assert why in row.why


def test_energy_of_unlike_counters_stays_open():
    records = make_cell_records(CLOSE, joules=1.0) + make_cell_records(
        SLOW, joules=3.0, method="ppo"
    )
    assert verdicts(records)["dpo-less-energy"] == "supported"
    polled = [
        msgspec.structs.replace(r, energy=msgspec.structs.replace(r.energy, source="polled"))
        for r in records[3:]
    ]
    found = finding(records[:3] + polled, "dpo-less-energy")
    assert found.verdict == "not measured"
    assert found.evidence[0].why.startswith("unlike")


@pytest.mark.parametrize(
    ("peft", "weights", "verdict"),
    [
        # 1e9 parameters at two bytes each, and one byte less
        ("lora", 2_000_000_000, "supported"),
        ("lora", 1_999_999_999, "not measured"),
        # quantised: half a byte each
        ("qlora", 500_000_000, "supported"),
        ("qlora", 499_999_999, "not measured"),
        ("lora", 0, "not measured"),
    ],
)
def test_a_small_model_settles_nothing_about_billions(peft, weights, verdict):
    ledger = {"policy_weights": weights}
    records = [
        record
        for method, peak in (("dpo", 7), ("ppo", 10))
        for record in make_small_records(
            CLOSE if method == "dpo" else SLOW, peak=peak * 10**9, ledger=ledger, method=method,
            peft=peft, **GPU,
        )
    ]  # fmt: skip
    found = {f.claim.name: f for f in findings(records)}
    assert {found[name].verdict for name in ("dpo-less-vram", "dpo-less-time")} == {verdict}
    if verdict == "not measured":
        (row,) = found["dpo-30-percent"].of("apart")
        assert row.figure.value == pytest.approx(30)
        size = "at most 1000 million parameters" if weights else "a model of unknown size"
        assert row.why == f"{size}; it is said of 1 billion and more"


def test_what_no_size_settles_has_no_scale():
    """How time grows with length, and whether a method works, a small model tells as well."""
    small = {claim.name for claim in claims() if not claim.scale}
    assert small == {
        "mamba-linear", "transformer-quadratic", "attention-quadratic", "dpo-on-ssm"
    }  # fmt: skip


def test_a_figure_that_must_not_be_ranked_stays_open():
    spoiled = Verdict(ok=False, reasons=[Reason(code="host_loaded", text="busy")])
    records = [
        msgspec.structs.replace(r, validity={**r.validity, "time": spoiled})
        for r in timed(CLOSE, SLOW)
    ]
    found = finding(records, "dpo-less-time")
    assert found.verdict == "not measured"
    assert "host_loaded in 3 of 3 replicates" in found.evidence[0].why


@pytest.mark.parametrize("axis", [{"kernels": "stock"}, {"batch": 3}, {"seq_len": 32}])
def test_unlike_cells_are_never_a_pair(axis):
    records = make_cell_records(CLOSE, **GPU) + make_cell_records(SLOW, method="ppo", **GPU, **axis)
    found = {f.claim.name: f for f in findings(records)}
    assert not found["dpo-less-time"].evidence
    assert not found["dpo-less-vram"].evidence


def test_two_devices_are_never_a_pair_of_methods():
    records = make_cell_records(CLOSE, **GPU) + make_cell_records(
        SLOW, method="ppo", device="another", **GPU
    )
    assert not finding(records, "dpo-less-time").evidence


def ladder(exponent, *, count=3, spread=0.0, **axes):
    """Step times of T^exponent at four lengths; replicates are off by powers of T."""
    return [
        record
        for length in (64, 128, 256, 512)
        for record in make_cell_records(
            [1e-4 * length ** (exponent + spread * k) for k in range(count)], seq_len=length, **axes
        )
    ]


@pytest.mark.parametrize(
    ("architecture", "exponent", "verdict"),
    [
        ("mamba", 1.0, "supported"),
        ("mamba2", 1.19, "supported"),
        ("mamba", 1.5, "contradicted"),
        ("llama", 2.0, "supported"),
        ("llama", 1.3, "contradicted"),
    ],
)
def test_growth(architecture, exponent, verdict):
    name = "transformer-quadratic" if architecture == "llama" else "mamba-linear"
    found = finding(ladder(exponent, architecture=architecture), name)
    assert found.verdict == verdict
    assert found.evidence[0].figure.value == pytest.approx(exponent)


def test_a_hybrid_is_evidence_of_neither():
    records = ladder(1.0, architecture="hybrid", agrees=True)
    for name in ("mamba-linear", "transformer-quadratic", "attention-quadratic", "dpo-on-ssm"):
        assert not finding(records, name).evidence


def test_growth_needs_replicates_and_a_narrow_interval():
    few = finding(ladder(1.0, count=2, architecture="mamba"), "mamba-linear")
    wide = finding(ladder(1.0, spread=0.2, architecture="mamba"), "mamba-linear")
    assert (few.verdict, wide.verdict) == ("not measured", "not measured")
    assert "fewer than 3" in few.evidence[0].why
    assert "leaves it open" in wide.evidence[0].why


@pytest.mark.parametrize(("adapters", "verdict"), [(50, "supported"), (51, "contradicted")])
def test_adapters_are_counted_against_the_weights_that_full_trains(adapters, verdict):
    full = make_cell_records([1.0], ledger={"policy_weights": 1000}, peak=4000)
    lora = make_cell_records([1.0], peft="lora", ledger={"adapters": adapters}, peak=4000)
    found = finding(full + lora, "adapters-tiny")
    assert found.verdict == verdict
    assert found.evidence[0].figure.value == pytest.approx(adapters / 10)


def failed(status, **axes):
    (record,) = make_cell_records([1.0], **axes)
    reason = Reason(code="out_of_memory", text="")
    return msgspec.structs.replace(record, status=status, reason=reason)


def earlier(records):
    """The same a day before."""
    return [
        msgspec.structs.replace(
            record,
            provenance=msgspec.structs.replace(
                record.provenance, started="2026-01-01T03:04:05+00:00"
            ),
        )
        for record in records
    ]


def test_only_a_measured_out_of_memory_says_what_fits():
    lora = make_cell_records([1.0], peft="lora", **GPU)
    assert verdicts([failed("oom", **GPU), *lora])["adapters-fit"] == "supported"
    assert verdicts([failed("predicted_oom", **GPU), *lora])["adapters-fit"] == "not measured"
    full = make_cell_records([1.0], **GPU)
    assert verdicts([failed("oom", peft="lora", **GPU), *full])["adapters-fit"] == "contradicted"
    both = [failed("oom", **GPU), *earlier(full), *lora]
    assert verdicts(both)["adapters-fit"] == "not measured"  # full ran the night before
    cpu = make_cell_records([1.0], peft="lora")
    assert verdicts([failed("oom"), *cpu])["adapters-fit"] == "not measured"


@pytest.mark.parametrize(
    ("peak", "parallel", "accelerator", "verdict"),
    [
        (275, "fsdp2", "cuda", "supported"),
        (276, "fsdp2", "cuda", "contradicted"),
        (250, "fsdp2", "cpu", "not measured"),
        (250, "ddp", "cuda", "not measured"),
    ],
)
def test_an_even_share_of_one_device_s_memory(peak, parallel, accelerator, verdict):
    """Of four: a quarter, and a tenth of that more."""
    several = {"world_size": 4, "parallel": parallel, "ledger": {"policy_weights": 100}}
    where = {"accelerator": accelerator, "batch": 4}
    records = make_cell_records([1.0], peak=1000, **where)
    records += make_cell_records([0.3], peak=peak, **where, **several)
    found = finding(records, "fsdp-divides-vram")
    assert found.verdict == verdict
    for row in found.evidence:
        assert row.figure.value == pytest.approx(peak / 10)


@pytest.mark.parametrize(
    ("amd", "verdict"),
    [(CLOSE, "supported"), (SLOW, "contradicted"), (WIDE, "not measured"),
     (CLOSE[:2], "not measured")],
)  # fmt: skip
def test_parity(amd, verdict):
    records = make_cell_records(CLOSE, **GPU) + make_cell_records(amd, accelerator="rocm")
    assert verdicts(records)["amd-parity"] == verdict


def test_dpo_on_a_state_space_model_needs_agreement():
    for agrees, verdict in ((True, "supported"), (False, "contradicted"), (None, "not measured")):
        records = make_cell_records([1.0], architecture="mamba", agrees=agrees)
        assert verdicts(records)["dpo-on-ssm"] == verdict
    assert verdicts(make_cell_records([1.0], agrees=True))["dpo-on-ssm"] == "not measured"


def test_the_page_shows_each_claim_with_its_rule_and_links_to_the_rows(tmp_path):
    records = delta(30, count=3, **GPU) + delta(10, peft="lora", count=3, **GPU)
    write_report(Loaded(records=records, refused=[]), tmp_path / "r.html")
    text = html.unescape((tmp_path / "r.html").read_text())
    for claim in claims():
        assert claim.text in text
        assert claim.rule.split(". ")[0] in text
    row = text[text.index('id="claim-dpo-30-percent"') :].partition("</tr>")[0]
    assert "mixed" in row
    assert "10.0 to 30.0 %" in row
    for record in records:
        assert f'href="#cell-{record.cell.id}"' in text
        assert f'id="cell-{record.cell.id}"' in text


def test_every_limit_and_verdict_is_documented():
    text = (Path(__file__).parents[3] / "docs" / "report.md").read_text()
    for verdict in VERDICTS:
        assert f"| {verdict} |" in text
    rows = tomllib.loads((resources.files(claims_room) / "claims.toml").read_text())
    assert len(rows) == len(claims())
    for row in rows.values():
        for name in ("at_most", "at_least"):
            assert name not in row or f"at {row[name]} or" in text
        if "least_percent" in row and "most_percent" in row:
            assert f"{row['least_percent']:.0f} to {row['most_percent']:.0f} %" in text
        elif "most_percent" in row:
            assert f"at most {row['most_percent']:.0f} %" in text
