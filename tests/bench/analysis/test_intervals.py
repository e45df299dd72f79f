"""Intervals, checked against hand computation and by simulation."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from alignmeter.analysis.intervals import (
    Estimate,
    estimate,
    exact_ratio,
    mean,
    outcome,
    paired_ratio,
    ratio,
    step_median,
)


def test_no_interval_below_three_replicates():
    found = estimate([1.0, 4.0])
    assert found.value == pytest.approx(2.0)  # geometric mean
    assert (found.low, found.high, found.n) == (None, None, 2)


def test_interval_of_three_by_hand():
    """Logs 0, ln 2, 2 ln 2: mean ln 2, s = ln 2; t(0.975, 2) = 4.302653."""
    found = estimate([1.0, 2.0, 4.0])
    half = 4.302653 * math.log(2) / math.sqrt(3)
    assert found.value == pytest.approx(2.0)
    assert found.low == pytest.approx(2 * math.exp(-half), rel=1e-6)
    assert found.high == pytest.approx(2 * math.exp(half), rel=1e-6)


def test_a_mean_of_any_sign_by_hand():
    """-1, 0, 1: mean 0, s = 1; half 4.302653 / sqrt 3."""
    found = mean([-1.0, 0.0, 1.0])
    assert found.value == pytest.approx(0.0)
    assert found.high == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert found.low == pytest.approx(-found.high)
    assert mean([1.0, 3.0]).value == pytest.approx(2.0)
    assert (mean([1.0, 3.0]).low, mean([1.0, 3.0]).n) == (None, 2)


def test_ratio_by_hand():
    """Two groups with variance (ln 2)^2 each and n = 3: Welch's degrees of freedom are 4."""
    found = ratio([2.0, 4.0, 8.0], [1.0, 2.0, 4.0])
    half = 2.776445 * math.log(2) * math.sqrt(2 / 3)
    assert found.value == pytest.approx(2.0)
    assert found.high == pytest.approx(2 * math.exp(half), rel=1e-6)


def test_intervals_are_scipys():
    """scipy.stats takes too long to import for the product; its figures are ours."""
    draw = random.Random(0)
    for _ in range(200):
        sides = [
            [draw.lognormvariate(centre, 10 ** draw.uniform(-4, 0)) for _ in range(count)]
            for centre, count in ((draw.uniform(-3, 3), draw.randint(3, 9)) for _ in "ab")
        ]
        new, base = ([math.log(value) for value in side] for side in sides)
        for found, theirs in (
            (ratio(*sides), stats.ttest_ind(new, base, equal_var=False)),
            (estimate(sides[0]), stats.ttest_1samp(new, 0.0)),
        ):
            bounds = theirs.confidence_interval(0.95)
            assert (math.log(found.low), math.log(found.high)) == pytest.approx(
                (bounds.low, bounds.high), rel=1e-12, abs=1e-12
            )


def test_sides_without_any_spread_have_an_interval_of_no_width():
    assert ratio([2.0] * 3, [1.0] * 4) == Estimate(value=2.0, low=2.0, high=2.0, n=3)
    one = ratio([1.0, 1.0, 1.0 + 2**-52], [1.0] * 3)  # one rounding apart on one side
    assert one.low < 1 < one.high
    calm = estimate([3.0] * 3)
    assert calm.low == calm.value == calm.high


def test_ratio_of_pairs_by_hand():
    """Log ratios 0, ln 2, 2 ln 2, whatever the rounds' own levels: as three figures 1, 2, 4."""
    rounds = (3.0, 50.0, 0.2)
    found = paired_ratio([1.0 * 3.0, 2.0 * 50.0, 4.0 * 0.2], rounds)
    by_hand = estimate([1.0, 2.0, 4.0])
    assert (found.value, found.low, found.high) == pytest.approx(
        (by_hand.value, by_hand.low, by_hand.high)
    )
    assert found.n == 3
    with pytest.raises(ValueError, match="zip"):
        paired_ratio([1.0, 2.0], [1.0])


def test_ratio_of_identical_bytes_is_exact():
    found = ratio([5.0] * 3, [4.0] * 3)
    assert found.low == found.high == pytest.approx(1.25)


def test_ratio_needs_three():
    assert ratio([2.0, 2.0], [1.0, 1.0, 1.0]).low is None


def test_estimate_refuses_what_has_no_logarithm():
    with pytest.raises(ValueError, match=r"math domain error|positive"):
        estimate([1.0, 0.0])


def test_interval_covers_the_truth_in_about_95_of_100_runs():
    """2000 runs of 4 log-normal medians: 95 % +- 1.5 % is three standard errors."""
    rng = random.Random(7)
    hits = 0
    for _ in range(2000):
        found = estimate([math.exp(rng.gauss(0.0, 0.03)) for _ in range(4)])
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 1.0 <= found.high
    assert 0.935 <= hits / 2000 <= 0.965


def test_a_replicate_is_the_median_over_its_steps():
    """One step of 9 s, when something else ran, moves a mean of 1 s to 2.6 s, a median not."""
    assert step_median([1.0, 1.0, 9.0, 1.0, 1.0]) == 1.0
    assert step_median([]) is None


def found(low, value, high):
    return Estimate(value=value, low=low, high=high, n=6)


@pytest.mark.parametrize(
    ("interval", "slower_is", "faster_is"),
    [
        (found(1.02, 1.05, 1.08), "regressed", "improved"),
        (found(1.001, 1.03, 1.06), "regressed", "improved"),  # exactly 3 %
        (found(1.001, 1.0299, 1.06), "inconclusive", "inconclusive"),
        (found(0.99, 1.05, 1.12), "inconclusive", "inconclusive"),  # holds 1
        (found(0.90, 1.0, 1.11), "inconclusive", "inconclusive"),
        (found(0.99, 1.0, 1.01), "equal", "equal"),
        (found(1.005, 1.01, 1.02), "equal", "equal"),  # a change, and a small one
        (found(1.01, 1.02, 1.03), "inconclusive", "inconclusive"),  # 3 % is not inside
        (found(0.92, 0.95, 0.98), "improved", "regressed"),
        (found(0.95, 1 / 1.03, 0.99), "improved", "regressed"),  # 3 % the other way round
        (found(0.95, 0.971, 0.99), "inconclusive", "inconclusive"),
    ],
)
def test_every_verdict(interval, slower_is, faster_is):
    assert outcome(interval, 0.03) == slower_is
    assert outcome(interval, 0.03, higher_is_better=True) == faster_is


def test_without_an_interval_there_is_no_verdict_and_no_zero():
    two = ratio([2.0, 2.0], [1.0, 1.0])
    assert (two.value, two.low, outcome(two, 0.03)) == (2.0, None, "not available")


def test_a_minimum_effect_must_be_positive():
    with pytest.raises(ValueError, match="positive"):
        outcome(found(1, 1, 1), 0.0)


def test_bytes_are_compared_exactly():
    """The largest of each side: 1010 against 1000 is 1 %, 1009 is not. One replicate will do."""
    assert exact_ratio([1010], [1000]) == Estimate(value=1.01, low=1.01, high=1.01, n=1)
    assert outcome(exact_ratio([1010, 7], [1000, 8, 9]), 0.01) == "regressed"
    assert outcome(exact_ratio([1009], [1000]), 0.01) == "equal"
    assert outcome(exact_ratio([1000], [1010]), 0.01) == "improved"
    assert outcome(exact_ratio([1000], [1000]), 0.01) == "equal"


@given(
    st.lists(st.floats(0.01, 100), min_size=3, max_size=8),
    st.lists(st.floats(0.01, 100), min_size=3, max_size=8),
    st.floats(0.001, 0.5),
)
def test_swapped_sides_give_the_swapped_verdict(new, base, minimum):
    swapped = {"regressed": "improved", "improved": "regressed"}
    there, back = outcome(ratio(new, base), minimum), outcome(ratio(base, new), minimum)
    assert back == swapped.get(there, there)


@given(st.lists(st.floats(0.01, 100), min_size=3, max_size=8), st.floats(0.1, 10))
def test_a_cell_beside_itself_never_changed(medians, scale):
    """Whatever the unit."""
    assert outcome(ratio(medians, medians), 0.03) in ("equal", "inconclusive")
    scaled = [scale * value for value in medians]
    assert estimate(scaled).value == pytest.approx(scale * estimate(medians).value)
