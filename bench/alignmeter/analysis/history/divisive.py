"""E-divisive: where a series stops having one distribution, with a permutation test.

Source: Matteson and James, A Nonparametric Approach for Multiple Change Point Analysis of
Multivariate Data, Journal of the American Statistical Association 109 (2014), arXiv:1306.4933.

For a left part X of n values and a right part Y of m that follows it,

    Q = n m / (n + m) * (2 E|X - Y| - E|X - X'| - E|Y - Y'|)

with means over pairs in place of the expectations (the paper's exponent alpha is 1). The candidate
is the end of X in the pair of parts with the largest Q, where X starts the series and Y may end
before it does: so a change that is taken back later is seen, too. Its p-value is the share of
random orders of the same values whose largest Q is as large.
"""

__all__ = ["LEAST_PART", "Candidate"]

import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

LEAST_PART = 3
"""Runs in a part: below three there is no interval of its level."""
_BATCH_VALUES = 1_000_000
"""Distances that are held at once: 8 MB for each of a few arrays."""
_ROUNDING = 1e-9
_Floats = NDArray[np.float64]


@lru_cache(maxsize=64)
def _weights(count: int) -> tuple[_Floats, _Floats, _Floats]:
    """Q as a sum over S, the sums of all distances among the first values of a series.

    Q[t, k] = a[t, k] S[t, t] + b[t, k] S[k, k] + c[t, k] S[t, k], for the parts 0..t and t..k; 0
    where a part is shorter than `LEAST_PART`. Shape of each: (count + 1, count + 1).
    """
    t, k = np.meshgrid(np.arange(count + 1.0), np.arange(count + 1.0), indexing="ij")
    n, m = t, k - t
    allowed = (n >= LEAST_PART) & (m >= LEAST_PART)
    n, m = np.where(allowed, n, 2.0), np.where(allowed, m, 2.0)
    scale = np.where(allowed, n * m / (n + m), 0.0)
    # Within Y: S[k, k] - 2 S[t, k] + S[t, t]; between X and Y: S[t, k] - S[t, t].
    between, left, right = 2 / (n * m), 1 / (n * (n - 1)), 1 / (m * (m - 1))
    return -scale * (between + left + right), -scale * right, scale * (between + 2 * right)


def _divergences(values: _Floats) -> _Floats:
    """Q of every pair of parts, for each row of ``values``. (B, n) -> (B, n + 1, n + 1)."""
    rows, count = values.shape
    sums = np.zeros((rows, count + 1, count + 1))
    inner = sums[:, 1:, 1:]
    np.abs(values[:, :, None] - values[:, None, :], out=inner)
    np.cumsum(inner, axis=1, out=inner)
    np.cumsum(inner, axis=2, out=inner)
    corner = np.diagonal(sums, axis1=1, axis2=2).copy()
    a, b, c = _weights(count)
    sums *= c
    sums += a * corner[:, :, None]
    sums += b * corner[:, None, :]
    return sums


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
        found = _divergences(values[None, :])[0]
        self._largest = float(found.max())
        self.index = int(np.unravel_index(int(found.argmax()), found.shape)[0])
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
        batch = max(1, _BATCH_VALUES // (count + 1) ** 2)
        while self.orders < orders and self.exceeded < exceeded:
            rows = min(batch, orders - self.orders)
            order = np.argsort(self._rng.random((rows, count)), axis=1)
            found = _divergences(self.values[order]).max(axis=(1, 2))
            self.exceeded += int((found >= self._largest * (1 - _ROUNDING)).sum())
            self.orders += rows
