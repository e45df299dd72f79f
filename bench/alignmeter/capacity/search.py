"""Find the largest value that fits, with few tries. Nothing here knows what a try is.

It starts at the plan's value. Each later try goes where the bytes used so far and their slope meet
the limit: a step's memory grows almost linearly near one point, so a plan that is off by x of the
value lands within x squared of it at the second try. What is no straight line is still found: far
off, strides double, and between a value that fits and one that does not every third try halves.
"""

__all__ = ["MOST", "Hint", "Outcome", "find_largest", "next_value"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import floor

MOST = 2**20
"""No value above it is tried."""
_FARTHEST = 4
"""A stride upwards takes at most this multiple of what fits: a wild guess costs a long try."""
_NEAR = 3
"""Tries in one direction that trust the slope alone."""
_BACK = (16, 4, 2)
"""Parts of the value by which strides go down without a figure to go by, the last for all that
follow: a plan that is not a wild guess is off by a few per cent.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What one try gave. ``used_bytes``: against the limit, ``None`` if it did not get so far.

    ``about_memory``: false where something else than memory stopped it.
    """

    fits: bool
    used_bytes: int | None = None
    about_memory: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Hint:
    """What is known before the first try. ``slope``: bytes per unit of the value near ``start``."""

    start: int
    limit_bytes: int
    slope: float | None = None
    least: int = 1
    most: int = MOST


Tried = Sequence[tuple[int, Outcome]]
"""Values and what came of them, in the order of the tries."""


def find_largest(attempt: Callable[[int], Outcome], hint: Hint) -> int | None:
    """The largest value in [least, most] that fits, ``None`` if none does.

    Larger values must need more: then the next value above the result was tried and did not fit,
    unless the result is ``most``.
    """
    tried: list[tuple[int, Outcome]] = []
    while (value := next_value(tried, hint)) is not None:
        tried.append((value, attempt(value)))
    return max((value for value, outcome in tried if outcome.fits), default=None)


def next_value(tried: Tried, hint: Hint) -> int | None:
    """What to try next; ``None`` when the largest value is known."""
    if not tried:
        return min(max(hint.start, hint.least), hint.most)
    fitting = [value for value, outcome in tried if outcome.fits]
    refused = [value for value, outcome in tried if not outcome.fits]
    low = max(fitting, default=hint.least - 1)
    high = min(refused, default=hint.most + 1)
    if low + 1 >= high:
        return None
    guess = _guess(tried, hint)
    if not refused:
        return min(_upwards(low, len(fitting), guess), hint.most)
    if not fitting:
        if not tried[-1][1].about_memory:
            return hint.least
        return max(_downwards(high, len(refused), guess), hint.least)
    if guess is None or _tries_between(tried) % 3 == 2:
        return (low + high) // 2
    if guess >= high:  # it failed without a figure: the slope was taken a little too low
        return high - max(1, (high - low) // _BACK[0])
    return max(guess, low + 1)


def _upwards(low: int, tries: int, guess: int | None) -> int:
    """Beyond ``low``, which fits. From the fourth try in this direction strides double."""
    least = low + (1 << max(0, tries - _NEAR))
    return min(max(2 * low if guess is None else guess, least), _FARTHEST * low + least)


def _downwards(high: int, tries: int, guess: int | None) -> int:
    """Below ``high``, which does not fit."""
    if guess is None:
        return high - max(1, high // _BACK[min(tries, len(_BACK)) - 1])
    return min(guess, high - (1 << max(0, tries - _NEAR)))


def _tries_between(tried: Tried) -> int:
    """How many tries there were since one value fitted and another did not."""
    kinds = [outcome.fits for _, outcome in tried]
    return len(kinds) - 1 - max(kinds.index(True), kinds.index(False))


def _guess(tried: Tried, hint: Hint) -> int | None:
    """Where the line through the two tries that came closest to the limit meets it."""
    points = sorted(
        ((value, outcome.used_bytes) for value, outcome in tried if outcome.used_bytes is not None),
        key=lambda point: abs(point[1] - hint.limit_bytes),
    )
    if not points:
        return None
    (value, used), *others = points
    slope = hint.slope
    if others and used != others[0][1]:
        slope = (used - others[0][1]) / (value - others[0][0])
    if slope is None or slope <= 0:
        return None
    return value + floor((hint.limit_bytes - used) / slope)
