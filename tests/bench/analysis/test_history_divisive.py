"""E-divisive against its definition, its p-values against chance, and the figures in the docs."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from changes import false_alarms, main, steps_found
from hypothesis import given, settings
from hypothesis import strategies as st

from alignmeter.analysis.history import control
from alignmeter.analysis.history.control import splits
from alignmeter.analysis.history.divisive import LEAST_PART, Candidate

WHOLE = st.integers(-50, 50).map(float)


def mean_distance(one, other):
    return sum(abs(a - b) for a in one for b in other) / (len(one) * len(other))


def within(values):
    pairs = list(itertools.combinations(values, 2))
    return sum(abs(a - b) for a, b in pairs) / len(pairs)


def divergence(x, y):
    """Equation 7 of the paper with alpha = 1."""
    n, m = len(x), len(y)
    return n * m / (n + m) * (2 * mean_distance(x, y) - within(x) - within(y))


def largest(values):
    count = len(values)
    return max(
        (divergence(values[:t], values[t:k]), -t)
        for t in range(LEAST_PART, count - LEAST_PART + 1)
        for k in range(t + LEAST_PART, count + 1)
    )


@settings(max_examples=100, deadline=None)
@given(values=st.lists(WHOLE, min_size=6, max_size=12))
def test_the_candidate_maximises_the_divergence_by_definition(values):
    best, _ = largest(values)
    if best <= 1e-9:
        return  # nothing is divided, so there is no place
    at = Candidate(np.array(values)).index
    ends = range(at + LEAST_PART, len(values) + 1)
    assert max(divergence(values[:at], values[at:k]) for k in ends) == pytest.approx(best)


def test_too_few_values_are_refused():
    with pytest.raises(ValueError, match="5 values"):
        Candidate(np.zeros(5))


def test_equal_values_are_never_divided():
    candidate = Candidate(np.ones(12))
    candidate.test(99, 10)
    assert candidate.p_value == 1.0
    assert splits([[1.0] * 12], [0.03], 0.05) == [[]]


def test_p_values_of_pure_chance_are_no_smaller_than_chance():
    """Of 400 series without a change, a share of p has a p-value of at most p, with three standard
    errors of room. Heavy tails make no difference to a permutation test.
    """
    rng = np.random.default_rng(1)
    found = []
    for _ in range(400):
        candidate = Candidate(rng.standard_t(2, 20))
        candidate.test(99, 100)
        found.append(candidate.p_value)
    for p in (0.05, 0.1, 0.3):
        assert sum(value <= p for value in found) / 400 <= p + 3 * (p * (1 - p) / 400) ** 0.5
    assert sum(value <= 0.3 for value in found) / 400 >= 0.2  # and they are not all near 1


def test_the_limit_of_the_papers_example():
    """Section 3.1 of Benjamini and Hochberg: of 15 p-values, four are believed at 5 %."""
    p_values = [
        0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240,
        0.4262, 0.5719, 0.6528, 0.7590, 1.0,
    ]  # fmt: skip
    found = [SimpleNamespace(p_value=p) for p in p_values]
    assert control._limit(found, 15, 0.05) == 0.0095
    # As many calm series as well: 0.0019 <= 0.05 * 3 / 30 is the last.
    assert control._limit(found, 30, 0.05) == 0.0019
    assert control._limit(found[9:], 15, 0.05) == 0.0
    assert control._limit([], 15, 0.05) == 0.0


def test_a_series_too_calm_for_the_smallest_effect_is_not_divided_and_a_clear_one_is():
    low, high = [0.0, 0.001] * 8, [0.05, 0.051] * 8
    assert splits([low + high], [0.06], 0.05) == [[]]
    ((split,),) = splits([low + high], [0.03], 0.05)
    assert split.index == 16
    assert split.p_value < 0.05


def test_changes_are_found_and_false_alarms_are_rare():
    """The promised figures with room for 100 trials; the command prints them."""
    middle = steps_found(series=1, after=15, trials=100)
    assert middle.found >= 0.95
    assert middle.placed >= 0.9
    assert false_alarms(series=1, trials=200)[0] <= 0.03
    assert false_alarms(series=12, trials=15)[0] <= 0.2


@pytest.mark.full
def test_the_command_prints_its_figures(capsys):
    main(["--trials", "1"])
    printed = capsys.readouterr().out
    assert "5 % slower among 30 runs, noise 1.5 %" in printed
    assert printed.count("%\n") == 12 + 4
    with pytest.raises(SystemExit, match="2"):
        main(["--trials", "0"])
    assert "--trials must be at least 1" in capsys.readouterr().err


@pytest.mark.exhaustive
def test_the_figures_of_the_docs():
    """At length: 5 % at 1.5 % noise among 30 runs, alone and among 48 series; nothing changed."""
    for series, changed, after, share in ((1, 1, 5, 0.95), (48, 1, 8, 0.85), (48, 12, 5, 0.85)):
        got = steps_found(series=series, changed=changed, after=after, trials=100)
        assert got.found >= share
        assert got.beside <= 0.05
    assert false_alarms(series=1, trials=2000)[0] <= 0.02
    assert false_alarms(series=48, trials=100)[0] <= 0.05
    assert false_alarms(series=48, noise=0.03, trials=100)[0] <= 0.08
