"""Intervals, checked against hand computation and by simulation."""

import math
import random

import pytest

from alignmeter.statistics import estimate, mean, ratio


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
