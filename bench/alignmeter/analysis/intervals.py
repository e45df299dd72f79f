"""Intervals and verdicts: computed here once, for `compare`, terminal and reports alike.

The steps of one process are not independent. So a replicate counts once, with the median over its
steps, and intervals are taken over replicates.
"""

__all__ = [
    "LEAST_REPLICATES",
    "Estimate",
    "Outcome",
    "estimate",
    "estimates",
    "exact_ratio",
    "mean",
    "outcome",
    "paired_ratio",
    "ratio",
    "step_median",
]

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # it takes time to import, and few intervals want it
    import numpy as np
    from numpy.typing import NDArray

LEAST_REPLICATES = 3
"""Fewer medians give no interval: with two, Student's t is wider than any figure it could bound."""
Outcome = Literal["regressed", "improved", "equal", "inconclusive", "not available"]
_ROUNDING = 1e-12
"""A change of exactly the minimum effect passes it, also where the division rounds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A figure over ``n`` replicates; ``low`` and ``high`` (95 %) are ``None`` below three."""

    value: float
    low: float | None
    high: float | None
    n: int


def _about(centre: float, error: float, degrees: float, n: int) -> Estimate:
    """Student's t-interval for a standard ``error`` with so many degrees of freedom."""
    half = 0.0
    if error:
        # scipy.stats has the whole of Welch's test, but takes a second more to import and eight
        # times as long for each interval; a test holds these against it.
        from scipy.special import stdtrit  # 0.4 s to import, and only intervals need it

        half = float(stdtrit(degrees, 0.975)) * error
    return Estimate(value=centre, low=centre - half, high=centre + half, n=n)


def _of_logs(found: Estimate) -> Estimate:
    """The same of what the logarithms are of."""
    low, high = (None if bound is None else math.exp(bound) for bound in (found.low, found.high))
    return Estimate(value=math.exp(found.value), low=low, high=high, n=found.n)


def step_median(steps: Sequence[float]) -> float | None:
    """The figure of one replicate: the median over its steps; ``None`` without steps."""
    return statistics.median(steps) if steps else None


def estimate(medians: Sequence[float]) -> Estimate:
    """Geometric mean of positive replicate medians with a t-interval on their logs.

    Raises `ValueError` for an empty sequence or a figure that is not positive.
    """
    return _of_logs(mean([math.log(value) for value in medians]))


def mean(values: Sequence[float]) -> Estimate:
    """Arithmetic mean of one figure per replicate, of any sign, with a t-interval."""
    centre = statistics.fmean(values)
    if len(values) < LEAST_REPLICATES:
        return Estimate(value=centre, low=None, high=None, n=len(values))
    error = math.sqrt(_variance(values) / len(values))
    return _about(centre, error, len(values) - 1, len(values))


def _variance(values: Sequence[float]) -> float:
    """Of the population that they are drawn from; exactly 0 where all are the same.

    `statistics.variance` reckons in fractions, which takes many times as long.
    """
    apart = [value - values[0] for value in values]
    centre = math.fsum(apart) / len(apart)
    return math.fsum((value - centre) ** 2 for value in apart) / (len(apart) - 1)


def estimates(values: "NDArray[np.float64]", starts: "NDArray[np.int64]") -> list[Estimate]:
    """`estimate` of many groups that follow each other; ``starts``: where each begins.

    Raises `IndexError` for an empty group at the end; every group must have a value.
    """
    import numpy as np
    from scipy.special import stdtrit

    counts = np.diff(starts, append=len(values))
    logs = np.log(values)
    first = logs[starts]
    apart = logs - np.repeat(first, counts)
    centres = np.add.reduceat(apart, starts) / counts
    squares = (apart - np.repeat(centres, counts)) ** 2
    spread = np.add.reduceat(squares, starts)
    degrees = np.maximum(counts - 1, 1)
    half = stdtrit(degrees, 0.975) * np.sqrt(spread / degrees / counts)
    middle = first + centres
    bounds = (np.exp(m).tolist() for m in (middle, middle - half, middle + half))
    return [
        Estimate(value=value, low=low if has else None, high=high if has else None, n=n)
        for value, low, high, n, has in zip(
            *bounds, counts.tolist(), (counts >= LEAST_REPLICATES).tolist(), strict=True
        )
    ]


def ratio(new: Sequence[float], base: Sequence[float]) -> Estimate:
    """``new / base`` by Welch's method on logs; ``n`` is the smaller of the two counts."""
    logs_new, logs_base = [math.log(v) for v in new], [math.log(v) for v in base]
    centre = statistics.fmean(logs_new) - statistics.fmean(logs_base)
    n = min(len(logs_new), len(logs_base))
    if n < LEAST_REPLICATES:
        return Estimate(value=math.exp(centre), low=None, high=None, n=n)
    a = _variance(logs_new) / len(logs_new)
    b = _variance(logs_base) / len(logs_base)
    total = a + b
    # Welch (Biometrika 34, 1947) and Satterthwaite (Biometrics Bulletin 2, 1946): at least n - 1.
    spread = a**2 / (len(logs_new) - 1) + b**2 / (len(logs_base) - 1)
    degrees = total**2 / spread if spread else n - 1
    return _of_logs(_about(centre, math.sqrt(total), degrees, n))


def paired_ratio(new: Sequence[float], base: Sequence[float]) -> Estimate:
    """``new / base`` of figures that belong together one by one: a t-interval on their log ratios.

    What disturbs both figures of a pair alike, a slow hour of the machine, is in neither bound.
    Raises `ValueError` if the counts differ or are zero.
    """
    return estimate([ours / theirs for ours, theirs in zip(new, base, strict=True)])


def exact_ratio(new: Sequence[int], base: Sequence[int]) -> Estimate:
    """``new / base`` of byte counts: the largest of each side, and an interval of no width.

    Bytes are deterministic, so one replicate is enough. Raises `ValueError` for an empty side and
    `ZeroDivisionError` for a base of zero bytes.
    """
    value = max(new) / max(base)
    return Estimate(value=value, low=value, high=value, n=min(len(new), len(base)))


def outcome(found: Estimate, minimum: float, *, higher_is_better: bool = False) -> Outcome:
    """What a ratio NEW / BASE means, given the smallest effect that matters (0.03: 3 %).

    ``regressed``, ``improved``: the interval excludes 1 and the estimate is at least a factor of
    ``1 + minimum`` away from it. ``equal``: the whole interval is nearer than that. Otherwise
    ``inconclusive``; without an interval ``not available``. Swapping the sides swaps the verdict.
    Raises `ValueError` if ``minimum`` is not positive.
    """
    if not minimum > 0:
        raise ValueError(f"the minimum effect must be positive, got {minimum}")
    if found.low is None or found.high is None:
        return "not available"
    limit = (1 + minimum) * (1 - _ROUNDING)
    if found.low > 1 and found.value >= limit:
        return "improved" if higher_is_better else "regressed"
    if found.high < 1 and found.value <= 1 / limit:
        return "regressed" if higher_is_better else "improved"
    if found.low > 1 / limit and found.high < limit:
        return "equal"
    return "inconclusive"
