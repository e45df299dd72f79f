"""When warm-up is over, and whether the timed steps still drift."""

__all__ = ["MOST_EXTRA", "SETTLED", "drift", "is_settled"]

import statistics
from collections.abc import Sequence
from itertools import pairwise

SETTLED = 0.03
"""The smallest effect on time that counts (`alignmeter compare`): what moves less is settled."""
MOST_EXTRA = 8
"""Warm-up steps beyond those asked for. Of steps that only scatter the n-th is the fastest so far
once in n times, all from the second to the ninth once in 9! = 362880: only a drift comes so far.
"""
_GROUPS = 7
"""Groups that only scatter fall throughout once in 7! = 5040. Simulated with an autocorrelation of
0.7: of replicates that scatter by 10 % and do not drift less than 0.5 % were called unsettled, of
those that scatter by 2 % and begin 40 % above their end over 90 %.
"""


def is_settled(seconds: Sequence[float]) -> bool:
    """Whether the newest step is no faster than the fastest before it, by more than `SETTLED`.

    The fastest, because a busy host makes steps slower and never faster. One step alone says
    nothing.
    """
    return len(seconds) > 1 and seconds[-1] >= (1 - SETTLED) * min(seconds[:-1])


def drift(warmup_s: Sequence[float], step_s: Sequence[float]) -> float | None:
    """By what share the median timed step is above the last ones, if the steps kept falling.

    They did if of seven groups of neighbours, from the first warm-up step to the last timed one,
    each has a lower median than the one before. ``None`` if not, with fewer than seven steps, and
    where the share is below `SETTLED`.
    """
    seconds = [*warmup_s, *step_s]
    count = len(seconds)
    if count < _GROUPS or not step_s:
        return None
    edges = [number * count // _GROUPS for number in range(_GROUPS + 1)]
    medians = [statistics.median(seconds[a:b]) for a, b in pairwise(edges)]
    if any(later >= earlier for earlier, later in pairwise(medians)):
        return None
    share = statistics.median(step_s) / medians[-1] - 1
    return share if share > SETTLED else None
