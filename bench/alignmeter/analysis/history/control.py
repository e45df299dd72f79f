"""Which splits of many series are real: false alarms are bounded over all series together.

The first split of each series is one hypothesis. Those that hold are chosen by the method of
Benjamini and Hochberg (Journal of the Royal Statistical Society B 57, 1995), which bounds the
expected share of false ones among them; where nothing changed at all, that is the chance of any
false alarm. The parts of a series that is split are tested at the limit which its first split
passed. Tests start with few random orders and get more only while they can still decide something.
"""

__all__ = ["Split", "splits"]

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from alignmeter.analysis.history.divisive import LEAST_PART, Candidate

_HOPELESS = 10
"""Random orders that are as divided, after which no more are tried (Besag and Clifford, Biometrika
78, 1991: the p-value then is good enough).
"""
_ORDERS = 199
"""Random orders of the first round: no p-value is coarser than half a per cent."""
_FINER = 8
"""How many times more orders the next round tries at most."""
_ROWS = 32
"""Starts of parts that are looked at together: what a core's cache holds."""
_Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """``index``: the first value of the new level."""

    index: int
    p_value: float


def splits(
    logs: Sequence[Sequence[float]], minimum: Sequence[float], rate: float
) -> list[list[Split]]:
    """The splits of each series, by index. Equal input gives equal results.

    ``logs``: logarithms of figures, in order of time. ``minimum``: for each series, the smallest
    effect that counts, as a share of 1. ``rate``: the bound on false alarms, a share of 1.
    """
    arrays = [np.asarray(values, dtype=np.float64) for values in logs]
    testable = sum(len(values) >= 2 * LEAST_PART for values in arrays)
    first = {
        number: Candidate(values)
        for number, values in enumerate(arrays)
        if _can_change(values, minimum[number])
    }
    limit = _decide(list(first.values()), testable, rate)
    found: list[list[Split]] = [[] for _ in arrays]
    for number, candidate in first.items():
        if candidate.p_value <= limit:
            inner = _within(candidate, minimum[number], limit)
            found[number] = sorted(inner, key=lambda split: split.index)
    return found


def _can_change(values: _Floats, minimum: float) -> bool:
    """Whether any two parts that meet are so far apart: what saves testing a calm series, for a
    split between two nearer levels is not kept.
    """
    count = len(values)
    if count < 2 * LEAST_PART:
        return False
    sums = np.concatenate([[0.0], np.cumsum(values - values[0])])
    per_value, short = _parts(count)
    low_end, high_end = np.full(count + 1, np.inf), np.full(count + 1, -np.inf)  # of parts to there
    low, high = np.empty(count + 1), np.empty(count + 1)  # of parts from there on
    for first in range(0, count + 1, _ROWS):
        rows = slice(first, first + _ROWS)
        means = (sums - sums[rows, None]) * per_value[rows]
        above, below = means + short[rows], means - short[rows]
        low[rows], high[rows] = above.min(axis=1), below.max(axis=1)
        low_end = np.minimum(low_end, above.min(axis=0))
        high_end = np.maximum(high_end, below.max(axis=0))
    widest = max(float((high_end - low).max()), float((high - low_end).max()))
    return widest >= math.log1p(minimum) * (1 - 1e-9)


@lru_cache(maxsize=16)
def _parts(count: int) -> tuple[_Floats, _Floats]:
    """Of the part between two places among ``count`` values: 1 / its length, and inf where it is
    too short, else 0. Shape of each: (count + 1, count + 1).
    """
    places = np.arange(count + 1.0)
    lengths = places - places[:, None]
    return 1 / np.maximum(lengths, 1.0), np.where(lengths < LEAST_PART, np.inf, 0.0)


def _limit(candidates: Sequence[Candidate], tests: int, rate: float) -> float:
    """Benjamini and Hochberg: the largest p-value that may be believed, or 0."""
    p_values = [candidate.p_value for candidate in candidates]
    if min(p_values, default=1.0) > rate:  # none is believed below the rate
        return 0.0
    from scipy.stats import false_discovery_control  # a second, which calm histories do without

    # A series that was not tested, being calm, counts all the same.
    calm = [1.0] * (tests - len(p_values))
    adjusted = false_discovery_control([*p_values, *calm])
    own = adjusted[: len(p_values)]
    return max((p for p, q in zip(p_values, own, strict=True) if q <= rate), default=0.0)


def _decide(candidates: Sequence[Candidate], tests: int, rate: float) -> float:
    """Test until each candidate is believed or hopeless; the limit that divides them."""
    orders, finest = _ORDERS, max(_ORDERS, math.ceil(2 * tests / rate))
    open_ = list(candidates)
    while open_:
        for candidate in open_:
            candidate.test(orders, _HOPELESS)
        limit = _limit(candidates, tests, rate)
        if orders >= finest:
            break
        believed = sum(candidate.p_value <= limit for candidate in candidates)
        open_ = [c for c in open_ if c.p_value > limit and c.exceeded < _HOPELESS]
        orders = min(_next(orders, believed + len(open_), tests, rate), finest)
    return _limit(candidates, tests, rate)


def _next(orders: int, possible: int, tests: int, rate: float) -> int:
    """Random orders of the next round: with so many as these, all that are ``possible`` could be
    believed; if that is too few, or too many at once, a multiple of the last.
    """
    enough = math.ceil(tests / (rate * possible)) if possible else 0
    return enough if orders < enough < _FINER * orders else _FINER * orders


def _within(candidate: Candidate, minimum: float, limit: float) -> Iterator[Split]:
    """The split, which holds, and those of both its parts."""
    open_ = [(0, candidate)]
    while open_:
        start, split = open_.pop()
        yield Split(index=start + split.index, p_value=split.p_value)
        halves = ((0, split.values[: split.index]), (split.index, split.values[split.index :]))
        for offset, values in halves:
            if _can_change(values, minimum):
                part = Candidate(values)
                part.test(max(_ORDERS, math.ceil(2 / limit)), _HOPELESS)
                if part.p_value <= limit:
                    open_.append((start + offset, part))
