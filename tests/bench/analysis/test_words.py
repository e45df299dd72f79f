"""Ratios in words: what is clear, what is open, and that several pairs are never averaged."""

import pytest

from alignmeter.analysis.intervals import Estimate
from alignmeter.analysis.metrics import METRICS
from alignmeter.analysis.words import figure_text, lean, ratio_text, several_text

TIME, MEMORY = METRICS["time"], METRICS["memory"]
ENERGY, TOKENS = METRICS["energy"], METRICS["tokens"]


def plain(text):
    return text.replace("\N{MULTIPLICATION SIGN}", "x").replace("\N{MINUS SIGN}", "-")


def ratio(value, low=None, high=None, n=3):
    return Estimate(value=value, low=low, high=high, n=n)


def exact(value):
    return ratio(value, value, value)


@pytest.mark.parametrize(
    ("metric", "figure", "text"),
    [
        (TIME, ratio(1 / 5.4, 1 / 5.7, 1 / 5.1), "5.4x faster [5.1, 5.7]"),
        (TIME, ratio(1.34, 1.3, 1.38), "1.34x slower [1.30, 1.38]"),
        (TOKENS, ratio(2.0, 1.9, 2.1), "2.0x faster [1.9, 2.1]"),
        (MEMORY, exact(0.39), "saves 61 %"),
        (MEMORY, ratio(0.39, 0.37, 0.42), "saves 61 % [58, 63]"),
        (MEMORY, exact(1.25), "needs 25 % more"),
        (MEMORY, exact(2.6), "needs 2.6x as much"),
        (MEMORY, exact(1.0), "the same"),
        (MEMORY, exact(0.003), "saves 99.7 %"),
        (ENERGY, ratio(0.86, 0.85, 0.87), "saves 14 % [13, 15]"),
        # 10.1 % more, and nothing of it is clear
        (TIME, ratio(1.101, 0.91, 1.34), "no clear difference (-9.0 % to +34 %)"),
        (TIME, ratio(1.001, 0.99, 1.02), "equal within 3 % (-1.0 % to +2.0 %)"),
        (TIME, ratio(1.035, 1.02, 1.05), "1.03x slower [1.02, 1.05]"),
        (TIME, ratio(1.02, 1.01, 1.05), "at the edge of 3 % (+1.0 % to +5.0 %)"),
        (TIME, ratio(1.5), "1.50x slower, no interval below 3 replicates"),
        (TIME, ratio(1.01), "+1.0 %, no interval below 3 replicates"),
    ],
)  # fmt: skip
def test_one_pair(metric, figure, text):
    assert plain(ratio_text(figure, metric)) == text
    assert plain(figure_text(figure, metric.name)) == text


FASTER, SLOWER = ratio(0.5, 0.48, 0.52), ratio(1.25, 1.2, 1.3)
MUCH_FASTER, OPEN = ratio(0.2, 0.19, 0.21), ratio(1.05, 0.9, 1.2)


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        ([FASTER, MUCH_FASTER], "2.0 to 5.0x faster in both pairs"),
        ([FASTER, FASTER, FASTER], "2.0x faster in all 3 pairs"),
        ([FASTER, OPEN, OPEN],
         "2.0x faster in 1 of 3 pairs; no clear difference (-10 % to +20 %) in 2 of 3 pairs"),
        ([FASTER, SLOWER], "2.0x faster in 1 of 2 pairs; 1.25x slower in 1 of 2 pairs"),
        ([OPEN, OPEN], "no clear difference (-10 % to +20 %) in both pairs"),
        ([ratio(0.9), ratio(1.2)], "-10 % to +20 % without an interval in both pairs"),
    ],
)  # fmt: skip
def test_several_pairs_give_a_range_and_how_many(figures, text):
    assert plain(several_text(figures, TIME)) == text


def test_which_way_a_ratio_leans():
    assert [lean(figure, TIME) for figure in (FASTER, SLOWER, OPEN)] == [-1, 1, 0]
    assert [lean(ratio(value), TIME) for value in (0.9, 1.01, 1.1)] == [-1, 0, 1]


def test_figures_that_are_no_ratio():
    assert figure_text(None, "time") == "\N{EN DASH}"
    assert figure_text(exact(25.0), "%") == "25.0 %"
    assert figure_text(ratio(1.0, 0.9, 1.1), "k") == "k = 1.00 [0.90, 1.10]"
    assert figure_text(ratio(3.0), "replicates") == "3 replicates"
