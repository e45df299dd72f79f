"""Intervals over replicates: computed here once, for `compare`, terminal and reports alike."""

__all__ = ["Estimate", "estimate", "mean", "ratio"]

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

LEAST_REPLICATES = 3
"""Fewer medians give no interval: with two, Student's t is wider than any figure it could bound."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A figure over ``n`` replicates; ``low`` and ``high`` (95 %) are ``None`` below three."""

    value: float
    low: float | None
    high: float | None
    n: int


def _t(degrees: float) -> float:
    from scipy.stats import t  # 0.3 s to import; only intervals need it

    return float(t.ppf(0.975, degrees))


def estimate(medians: Sequence[float]) -> Estimate:
    """Geometric mean of positive replicate medians with a t-interval on their logs.

    Raises `ValueError` for an empty sequence or a figure that is not positive.
    """
    logs = [math.log(value) for value in medians]
    centre = statistics.fmean(logs)
    if len(logs) < LEAST_REPLICATES:
        return Estimate(value=math.exp(centre), low=None, high=None, n=len(logs))
    half = _t(len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
    return Estimate(
        value=math.exp(centre),
        low=math.exp(centre - half),
        high=math.exp(centre + half),
        n=len(logs),
    )


def mean(values: Sequence[float]) -> Estimate:
    """Arithmetic mean of one figure per replicate, of any sign, with a t-interval."""
    centre = statistics.fmean(values)
    if len(values) < LEAST_REPLICATES:
        return Estimate(value=centre, low=None, high=None, n=len(values))
    half = _t(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return Estimate(value=centre, low=centre - half, high=centre + half, n=len(values))


def ratio(new: Sequence[float], base: Sequence[float]) -> Estimate:
    """``new / base`` by Welch's method on logs; ``n`` is the smaller of the two counts."""
    logs_new, logs_base = [math.log(v) for v in new], [math.log(v) for v in base]
    centre = statistics.fmean(logs_new) - statistics.fmean(logs_base)
    n = min(len(logs_new), len(logs_base))
    if n < LEAST_REPLICATES:
        return Estimate(value=math.exp(centre), low=None, high=None, n=n)
    a = statistics.variance(logs_new) / len(logs_new)
    b = statistics.variance(logs_base) / len(logs_base)
    if a + b == 0:
        return Estimate(value=math.exp(centre), low=math.exp(centre), high=math.exp(centre), n=n)
    degrees = (a + b) ** 2 / (a**2 / (len(logs_new) - 1) + b**2 / (len(logs_base) - 1))
    half = _t(degrees) * math.sqrt(a + b)
    return Estimate(
        value=math.exp(centre), low=math.exp(centre - half), high=math.exp(centre + half), n=n
    )
