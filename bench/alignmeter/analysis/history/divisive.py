"""E-divisive: where a series stops having one distribution, with a permutation test.

Source: Matteson and James, A Nonparametric Approach for Multiple Change Point Analysis of
Multivariate Data, Journal of the American Statistical Association 109 (2014), arXiv:1306.4933.

For a left part X of n values and a right part Y of m that follows it,

    Q = n m / (n + m) * (2 E|X - Y| - E|X - X'| - E|Y - Y'|)

with means over pairs in place of the expectations (the paper's exponent alpha is 1). The candidate
is the end of X in the pair of parts with the largest Q, where X starts the series and Y may end
before it does: so a change that is taken back later is seen, too. In a series of more than
`MOST_ENDS` values Y ends at one of so many places. The p-value is the share of random orders of the
same values whose largest Q is as large.
"""

__all__ = ["LEAST_PART", "Candidate"]

import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

LEAST_PART = 3
"""Runs in a part: below three there is no interval of its level."""
MOST_ENDS = 64
"""Places at which the later part may end: in a long series each of them costs time."""
_LEAST_ORDERS, _BATCH_VALUES = 32, 16_000
"""Random orders that are looked at together, and values of all of them: a core's cache holds a few
arrays of so many.
"""
_ROUNDING = 1e-9
_Floats = NDArray[np.float64]


@lru_cache(maxsize=64)
def _weights(count: int) -> dict[int, tuple[_Floats, _Floats, _Floats]]:
    """End k of Y -> a, b, c, each of shape (T, 1) for the ends t of X that leave both parts long
    enough, with Q[t, k] = a[t] S[t, t] + b[t] S[k, k] + c[t] S[t, k], where S[t, k] sums the
    distances between the first t values and the first k.
    """
    ends = np.linspace(2 * LEAST_PART, count, min(MOST_ENDS, count - 2 * LEAST_PART + 1))
    found = {}
    for k in map(int, ends):
        n = np.arange(LEAST_PART, k - LEAST_PART + 1.0)[:, None]
        m = k - n
        scale = n * m / (n + m)
        # Within Y: S[k, k] - 2 S[t, k] + S[t, t]; between X and Y: S[t, k] - S[t, t].
        between, left, right = 2 / (n * m), 1 / (n * (n - 1)), 1 / (m * (m - 1))
        found[k] = (
            -scale * (between + left + right),
            -scale * right,
            scale * (between + 2 * right),
        )
    return found


def _largest(values: _Floats) -> tuple[_Floats, NDArray[np.intp]]:
    """The largest Q of each column of ``values``, and the end of its X. (n, B) -> (B,), (B,)."""
    weights = _weights(len(values))
    sums, gaps = np.zeros_like(values), np.empty_like(values)  # of each value to the first k
    inner = np.zeros((len(values) + 1, values.shape[1]))  # S[t, t]
    best, index = np.full(values.shape[1], -np.inf), np.zeros(values.shape[1], np.intp)
    for k, newest in enumerate(values, 1):
        inner[k] = inner[k - 1] + 2 * sums[k - 1]
        np.subtract(values, newest, out=gaps)
        np.abs(gaps, out=gaps)
        sums += gaps
        if k in weights:
            a, b, c = weights[k]
            first = k - LEAST_PART
            found = np.cumsum(sums[:first], axis=0, out=gaps[:first])[LEAST_PART - 1 :]
            found *= c
            found += a * inner[LEAST_PART : first + 1]
            found += b * inner[k]
            at = found.argmax(axis=0)
            largest = found[at, np.arange(len(at))]
            better = largest > best
            best[better], index[better] = largest[better], at[better] + LEAST_PART
    return best, index


class Candidate:
    """The most likely change in ``values`` and a test of it that can be made ever finer.

    ``index``: the first value after the change. ``exceeded`` of ``orders`` random orders were as
    divided. The random numbers follow from the values: equal input gives equal results.
    Raises `ValueError` for fewer than two parts' values.
    """

    def __init__(self, values: _Floats) -> None:
        if len(values) < 2 * LEAST_PART:
            raise ValueError(f"{len(values)} values; two parts need {2 * LEAST_PART}")
        self.values = values
        self.orders = 0
        self.exceeded = 0
        best, index = _largest(values[:, None])
        self._largest, self.index = float(best[0]), int(index[0])
        self._rng = np.random.default_rng(zlib.crc32(values.tobytes()))

    @property
    def p_value(self) -> float:
        """An upper bound that holds for any number of orders."""
        return (1 + self.exceeded) / (1 + self.orders)

    def test(self, orders: int, exceeded: int) -> None:
        """Try random orders until there are so many, or so many that are as divided."""
        if self._largest <= 0:  # all values are the same
            self.orders = self.exceeded = orders
        count = len(self.values)
        batch = max(_LEAST_ORDERS, _BATCH_VALUES // count)
        while self.orders < orders and self.exceeded < exceeded:
            rows = min(batch, orders - self.orders)
            order = np.argsort(self._rng.random((rows, count)), axis=1)
            found, _ = _largest(np.ascontiguousarray(self.values[order].T))
            self.exceeded += int((found >= self._largest * (1 - _ROUNDING)).sum())
            self.orders += rows
