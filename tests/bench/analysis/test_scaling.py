"""Exponents and crossings from costs that are exact power laws, worked out by hand."""

import msgspec
import pytest
from made_records import make_record

from alignmeter.analysis.scaling import (
    STEP_MEMORY,
    STEP_TIME,
    crossing_length,
    crossings,
    fits,
    ladders,
)
from alignmeter.records.record import Phase, Reason, Timing, Verdict
from alignmeter.terminal import tables
from alignmeter.terminal.summary import summary_parts

LENGTHS = (256, 512, 1024, 2048, 4096, 8192)


def measured(seq_len, seconds, peak=1000, *, phases=None, operators=None, spoiled=(), **axes):
    """A record of one length; its step takes ``seconds``."""
    record = make_record(peak=peak, seq_len=seq_len, **axes)
    timing = Timing(step_s=[seconds], median_s=seconds, operator_s=operators or {})
    reasons = [Reason(code=code, text="") for code in spoiled]
    validity = {"time": Verdict(ok=not reasons, reasons=reasons), "memory": Verdict(ok=True)}
    return msgspec.structs.replace(record, timing=timing, phases=phases or {}, validity=validity)


def power(factor, exponent, lengths=LENGTHS, **more):
    """Records whose step takes factor T^exponent s; exponents of replicates in ``more``."""
    return [measured(t, factor * t**exponent, **more) for t in lengths]


def fit_of(ladder, quantity):
    (found,) = [fit for fit in fits(ladder) if fit.quantity == quantity]
    return found


def test_an_exact_power_law_gives_its_exponent():
    (ladder,) = ladders(power(3e-7, 1.7))
    found = fit_of(ladder, STEP_TIME)
    assert found.exponent.value == pytest.approx(1.7)
    assert found.last_slope.value == pytest.approx(1.7)
    assert found.exponent.low is None  # one replicate
    assert found.lengths == (2048, 4096, 8192)
    assert fit_of(ladder, STEP_MEMORY).exponent.value == pytest.approx(0.0)


def test_the_short_end_is_left_out():
    """1 s of start below 2048 tokens; above, T / 1000: the line is fitted where it is straight."""
    records = [measured(t, 1.0 if t < 2048 else t / 1000) for t in LENGTHS]
    (ladder,) = ladders(records)
    assert fit_of(ladder, STEP_TIME).exponent.value == pytest.approx(1.0)


def test_a_bent_line_by_hand():
    """Costs 1, 2, 8 at T, 2T, 4T: slopes 1 and 2, least squares 3/2, the last slope 2.

    With x = -1, 0, 1 (in units of log 2) and y = 0, 1, 3: sum(x y) / sum(x x) = 3/2.
    """
    (ladder,) = ladders([measured(1024, 1.0), measured(2048, 2.0), measured(4096, 8.0)])
    found = fit_of(ladder, STEP_TIME)
    assert found.exponent.value == pytest.approx(1.5)
    assert found.last_slope.value == pytest.approx(2.0)


def test_the_interval_is_students_over_replicates():
    """Exponents 1.0, 1.1, 1.2: mean 1.1, deviation 0.1, t(2) = 4.3027, half 4.3027 x 0.1 / sqrt 3.

    = 0.2484.
    """
    records = [r for k in range(3) for r in power(1e-6, 1 + k / 10, replicate=k)]
    (ladder,) = ladders(records)
    exponent = fit_of(ladder, STEP_TIME).exponent
    assert (exponent.value, exponent.n) == (pytest.approx(1.1), 3)
    assert exponent.low == pytest.approx(1.1 - 0.2484, abs=1e-4)
    assert exponent.high == pytest.approx(1.1 + 0.2484, abs=1e-4)


def test_phases_and_operators_have_exponents_of_their_own():
    """Forward T, backward T^2 s; attention T^2, rest T; the backward's peak T^1.5 bytes."""
    records = [
        measured(
            t, 1e-6 * t,
            phases={
                "forward": Phase(median_s=1e-6 * t, peak_bytes=t),
                "backward": Phase(median_s=1e-9 * t**2, peak_bytes=round(1e6 * t**1.5)),
            },
            operators={"attention": 1e-9 * t**2, "rest": 1e-6 * t},
        )
        for t in LENGTHS
    ]  # fmt: skip
    (ladder,) = ladders(records)
    found = {(f.quantity.metric, f.quantity.part, f.quantity.name): f.exponent.value
             for f in fits(ladder)}  # fmt: skip
    assert found == {
        ("time", "step", "step"): pytest.approx(1.0),
        ("time", "phase", "forward"): pytest.approx(1.0),
        ("time", "phase", "backward"): pytest.approx(2.0),
        ("time", "operators", "attention"): pytest.approx(2.0),
        ("time", "operators", "rest"): pytest.approx(1.0),
        ("memory", "step", "step"): pytest.approx(0.0),
        ("memory", "phase", "forward"): pytest.approx(1.0),
        ("memory", "phase", "backward"): pytest.approx(1.5, abs=1e-4),
    }


def test_crossing_by_hand():
    """T^2 against 1000 T: equal at T = 1000, where power laws meet exactly."""
    base = {t: 1e-6 * t**2 for t in LENGTHS}
    other = {t: 1e-3 * t for t in LENGTHS}
    assert crossing_length(base, other) == pytest.approx(1000.0)
    assert crossing_length(other, base) is None  # from 1000 on it is dearer
    assert crossing_length({t: c / 1e6 for t, c in base.items()}, other) is None
    assert crossing_length(base, {t: c / 1e6 for t, c in other.items()}) is None


def test_only_a_crossing_that_lasts_counts():
    base = dict.fromkeys(LENGTHS, 1.0)
    gaps = (0.5, 2.0, 0.5, 4.0, 0.25, 0.5)  # cheaper, dearer, cheaper, dearer, cheaper, cheaper
    other = dict(zip(LENGTHS, gaps, strict=True))
    assert crossing_length(base, other) == pytest.approx(2048 * 2**0.5)  # halfway from 4 to 1/4
    assert crossing_length(base, {**other, 8192: 1.0}) is None


def both(seconds_llama, seconds_mamba, replicates=1, **axes):
    """Ladders of llama and mamba from functions of T and the replicate."""
    return [
        measured(t, seconds(t, k), architecture=name, replicate=k, peak=peak, **axes)
        for name, seconds, peak in (("llama", seconds_llama, 2000), ("mamba", seconds_mamba, 1000))
        for k in range(replicates)
        for t in LENGTHS
    ]


def test_crossings_pair_like_ladders():
    records = both(lambda t, _: 1e-6 * t**2, lambda t, _: 1e-3 * t)
    time, memory = crossings(ladders(records))
    assert (time.metric, memory.metric) == ("time", "memory")
    assert time.length.value == pytest.approx(1000.0)
    assert time.text == "from T = 1000 on"
    assert memory.length is None
    assert memory.text == "not within the range measured: mamba is cheaper at every length"


def test_a_hybrid_may_cross_a_transformer_and_no_mamba():
    slopes = {"llama": (1e-6, 2.0), "hybrid": (1e-3, 1.0), "mamba2": (5e-4, 1.0)}
    records = [r for name, line in slopes.items() for r in power(*line, architecture=name)]
    found = crossings(ladders(records))
    pairs = {(c.base.cell.architecture, c.other.cell.architecture) for c in found}
    assert pairs == {("llama", "hybrid"), ("llama", "mamba2")}


def test_ladders_that_differ_in_more_than_architecture_are_not_held_against_each_other():
    records = power(1e-6, 2.0) + power(1e-3, 1.0, architecture="mamba", batch=4)
    assert len(ladders(records)) == 2
    assert crossings(ladders(records)) == []


def test_a_crossing_has_an_interval_over_replicates():
    """1000, 1000 and 1000 x 1.1^2 tokens: the geometric mean is 1000 x 1.1^(2/3) = 1065.6."""
    records = both(
        lambda t, _: 1e-6 * t**2, lambda t, k: 1e-3 * t * (1.21 if k == 2 else 1.0), replicates=3
    )
    time, _ = crossings(ladders(records))
    assert time.length.n == 3
    assert time.length.value == pytest.approx(1000 * 1.21 ** (1 / 3))
    assert time.length.low < 1000 < time.length.value < time.length.high


def test_a_crossing_of_some_replicates_only_is_not_settled():
    records = both(
        lambda t, _: float(t), lambda t, k: t * (2.0 if k or t < 1024 else 0.5), replicates=3
    )
    time, _ = crossings(ladders(records))
    assert time.length is None
    assert time.text == "not settled: 1 of 3 replicates have a crossing"


def test_prompts_of_one_rule_make_one_ladder():
    """Half of the sequence is one ladder, 16 response tokens another; two lengths are none."""
    half = power(1e-6, 1.0)
    fixed = [measured(t, 1e-6 * t, prompt_len=t - 16) for t in LENGTHS[:3]]
    found = ladders([*half, *fixed, *power(1e-6, 1.0, LENGTHS[:2], peft="lora")])
    assert sorted(len(ladder.lengths) for ladder in found) == [3, 6]
    assert {ladder.settings for ladder in found} == {"tiny-full-cpu-synthetic"}


def test_failed_records_and_impossible_figures_are_no_points():
    good = power(1e-6, 1.0, LENGTHS[:4])
    reason = Reason(code="out_of_memory", text="")
    bad = [make_record(seq_len=8192, status="oom", reason=reason), measured(4096, -1.0)]
    (ladder,) = ladders([*good, *bad])
    assert ladder.lengths_of(STEP_TIME) == [256, 512, 1024, 2048]
    assert fit_of(ladder, STEP_TIME).exponent.value == pytest.approx(1.0)


def test_a_replicate_without_the_longest_length_has_no_exponent():
    records = power(1e-6, 1.0) + power(1e-6, 3.0, LENGTHS[:5], replicate=1)
    (ladder,) = ladders(records)
    assert fit_of(ladder, STEP_TIME).exponent.n == 1
    assert fit_of(ladder, STEP_TIME).exponent.value == pytest.approx(1.0)


def test_runs_with_equal_numbers_are_replicates_of_their_own():
    records = power(1e-6, 1.0) + power(2e-6, 1.0) + power(1e-6, 1.0, replicate=1)
    (ladder,) = ladders(records)
    assert fit_of(ladder, STEP_TIME).exponent.n == 3
    assert len(ladder.figures(STEP_TIME, 512)) == 3


def test_the_terminal_shows_exponents_and_crossings_in_80_columns():
    operators = {"attention": 1.0, "rest": 1.0}
    records = both(
        lambda t, k: 1e-6 * t**2 * (1 + k / 100), lambda t, _: 1e-3 * t, replicates=3,
        operators=operators, spoiled=("host_loaded",),
    )  # fmt: skip
    lines = tables.lines(summary_parts(records))
    assert max(map(len, lines)) <= 80
    (llama,) = [line for line in lines if line.split()[:2] == ["dpo", "llama"]]
    assert llama.split() == [
        "dpo", "llama", "2048-8192", "2.00", "±0.00*", "attention", "0.00", "±0.00", "0.00",
        "±0.00", "0.00", "±0.00",
    ]  # fmt: skip
    text = " ".join(lines)
    assert "dpo: mamba is cheaper in time: from T = 990 on (966 to 1015)*" in text
    assert "*: some of these figures are invalid" in text
    short = tables.lines(summary_parts(power(1, 1, LENGTHS[:2])))
    assert not any("Exponents" in line for line in short)
