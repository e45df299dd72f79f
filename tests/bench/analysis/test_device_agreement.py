"""One cell on two devices: agreement with each other, wherever a speed compares them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import make_record
from msgspec.structs import replace

from alignmeter.analysis.device_agreement import checks_by_row, crosschecks
from alignmeter.records.record import Numerics, Provenance, Signal
from alignmeter.terminal import tables
from alignmeter.terminal.agreement import agreement_parts

BAND = 0.04


def signal(*measured, name="loss", reference=1.0, band=BAND):
    return Signal(name=name, measured=list(measured), reference=[reference] * 2, band=band)


def on(accelerator, *signals, device="", replicate=0, losses=(), cut=None, **axes):
    """A record of one cell in bf16 with these agreement figures."""
    found = make_record(
        accelerator=accelerator, precision="bf16", replicate=replicate, **{"method": "dpo", **axes}
    )
    agrees = all(s.agrees for s in signals) if signals else None
    numerics = Numerics(
        losses=list(losses), agreement=list(signals), agrees=agrees, agreement_layers=cut
    )
    place = Provenance(device=device or f"chip of {accelerator}", environment_digest="e")
    return replace(found, numerics=numerics, provenance=place)


def check(*records):
    (found,) = crosschecks(records)
    return found


def test_two_devices_agree_within_both_bands():
    """Each may be 0.04 off, so they may be 0.04 sqrt 2 = 0.0566 apart."""
    found = check(on("cuda", signal(1.02, 1.0)), on("rocm", signal(0.98, 1.01)))
    assert (found.agrees, found.word) == (True, "agree")
    (loss,) = found.signals
    assert (loss.step, loss.one, loss.other) == (1, 1.02, 0.98)
    assert loss.apart == pytest.approx(0.04)
    assert loss.band == pytest.approx(BAND * math.sqrt(2))
    assert found.text == (
        "cuda chip of cuda and rocm chip of rocm agree: loss 0.04 apart (band 0.057)"
    )


def test_both_may_agree_with_the_reference_and_not_with_each_other():
    ours, theirs = on("cuda", signal(1.0, 1.039)), on("rocm", signal(1.0, 0.961))
    assert ours.numerics.agrees
    assert theirs.numerics.agrees
    found = check(ours, theirs)
    assert found.agrees is False
    assert found.signals[0].step == 2
    assert "differ: loss 0.078 apart (band 0.057)" in found.text


def test_each_figure_counts_and_the_differing_ones_come_first():
    ours = on("cuda", signal(1.0, 1.0), signal(1.0, 1.0, name="grad_norm"))
    theirs = on("rocm", signal(1.0, 1.0), signal(1.0, 2.0, name="grad_norm"))
    found = check(ours, theirs)
    assert found.agrees is False
    assert found.text.index("grad_norm") < found.text.index("loss 0 apart")
    assert found.widest.name == "grad_norm"


def test_a_loss_that_is_not_finite_differs():
    found = check(on("cuda", signal(1.0, None)), on("rocm", signal(1.0, 1.0)))
    assert found.agrees is False
    assert "loss not finite in step 2" in found.text


def test_a_replicate_that_disagrees_speaks_for_its_device():
    good = [on("cuda", signal(1.0, 1.0), replicate=k) for k in (0, 2)]
    bad = on("cuda", signal(1.0, 3.0), replicate=1)
    assert check(*good, bad, on("rocm", signal(1.0, 1.0))).agrees is False


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        (on("cuda"), on("rocm"), "neither has a reference"),
        (
            on("cuda", signal(1.0, 1.0, reference=1.0)),
            on("rocm", signal(1.0, 1.0, reference=1.01)),
            "different references (loss)",
        ),
        (
            on("cuda", signal(1.0, 1.0), method="ppo"),
            on("rocm", losses=[1.0, 1.0], method="ppo"),
            "rollouts are of different tokens",
        ),
        (on("cuda", signal(1.0, 1.0), cut=2), on("rocm", losses=[1.0, 1.0]), "cut models"),
        (on("cuda", signal(1.0, 1.0)), on("rocm"), "no figure in common"),
    ],
)
def test_what_cannot_be_compared_is_unchecked_and_says_why(one, other, words):
    found = check(one, other)
    assert (found.agrees, found.word, found.signals) == (None, "unchecked", ())
    assert words in found.text


def test_a_side_without_a_reference_joins_with_its_losses():
    """A cell that is computed as its reference would be, as fp32 on a CPU is."""
    ours = on("cuda", signal(1.02, 1.0))
    assert check(ours, on("cpu", losses=[1.0, 1.0, 9.0])).agrees is True
    assert check(ours, on("cpu", losses=[1.0, 1.1, 1.0])).agrees is False


def test_only_the_same_computation_on_another_device_is_compared():
    ours = on("cuda", signal(1.0, 1.0))
    for other in (
        on("cuda", signal(1.0, 1.0), replicate=1),
        on("rocm", signal(1.0, 1.0), batch=3),
        on("rocm", signal(1.0, 1.0), kernels="stock"),
        replace(on("rocm", signal(1.0, 1.0)), seed=7),
        replace(on("rocm", signal(1.0, 1.0)), status="crashed"),
    ):
        assert crosschecks([ours, other]) == []
    same_vendor = on("cuda", signal(1.0, 1.0), device="another chip")
    assert check(ours, same_vendor).agrees is True


def test_a_row_of_a_table_finds_its_checks():
    records = [on(name, signal(1.0, 1.0)) for name in ("cuda", "rocm", "xpu")]
    checks = crosschecks(records)
    assert len(checks) == 3
    rows = checks_by_row(checks)
    assert len(rows) == 3
    mine = rows[records[0].cell.id, "chip of cuda"]
    assert {c.with_place("chip of cuda").device for c in mine} == {"chip of rocm", "chip of xpu"}


figures = st.lists(st.none() | st.floats(-1e6, 1e6), min_size=2, max_size=2)


@given(figures, figures)
def test_the_order_of_devices_changes_nothing(mine, yours):
    ours, theirs = on("cuda", signal(*mine)), on("rocm", signal(*yours))
    found, turned = check(ours, theirs), check(theirs, ours)
    assert found == turned
    near = all(
        a is not None and b is not None and abs(a - b) <= math.hypot(BAND, BAND)
        for a, b in zip(mine, yours, strict=True)
    )
    assert found.agrees == near


def test_the_terminal_counts_them_and_names_those_that_differ():
    assert list(agreement_parts([on("cuda", signal(1.0, 1.0))])) == []
    records = [
        on("cuda", signal(1.0, 1.0)), on("rocm", signal(1.0, 1.01)),
        on("cuda", signal(1.0, 1.0), batch=3), on("rocm", signal(1.0, 3.0), batch=3),
        on("cuda", batch=4), on("rocm", batch=4),
    ]  # fmt: skip
    lines = tables.lines(agreement_parts(records))
    assert lines[0] == "numbers between devices: 1 agree, 1 differ, 1 unchecked"
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    assert "the farthest apart that agree, dpo-llama-tiny-full-cuda" in text
    assert "differ: loss 2 apart" in text
    assert "unchecked: neither has a reference" in text
