"""Where a predicted peak fits, and how large a batch or a sequence would."""

__all__ = [
    "ALLOWANCE",
    "LARGEST",
    "Allowance",
    "fits",
    "largest_batch",
    "largest_seq_len",
    "on_chip",
]

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from alignmeter.accelerators import library_workspace_bytes
from alignmeter.analysis.chips import Peak
from alignmeter.analysis.roofline import bound_of, ceilings_of
from alignmeter.cells.cell import Cell
from alignmeter.records.prediction import Fit, Prediction
from alignmeter.units import GIB

Plan = Callable[[dict[str, int]], Prediction]
"""The same cell with these axes changed -> its prediction."""
_TOKENS = 64
"""Sequence lengths are told in multiples of this."""
LARGEST = 2**20
"""Pairs and tokens that no search goes beyond."""
_TRIES = 8
"""Plans that may verify one value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowance:
    """What a device needs beyond the allocator's peak."""

    context_bytes: int
    fragmentation: float

    def needed_bytes(self, peak_bytes: int) -> int:
        """Peak, fragmentation and context."""
        return round(peak_bytes * (1 + self.fragmentation)) + self.context_bytes


ALLOWANCE = Allowance(context_bytes=GIB, fragmentation=0.03)
"""1 GiB for the runtime's context and its libraries, 3 % for gaps between blocks.
Not measured: no GPU was at hand. A record's `reserved` and `process` peaks correct it.
"""


def on_chip(prediction: Prediction, chip: str | None) -> Prediction:
    """The same on a chip whose library of products keeps another workspace: ``sm_80``, ``gfx90a``.

    As it is for a chip without a name.
    """
    if chip is None:
        return prediction
    row = "library_workspace_bytes"
    more = library_workspace_bytes(chip) - prediction.ledger[row]
    reserved = prediction.reserved_bytes
    return msgspec.structs.replace(
        prediction,
        peak_bytes=prediction.peak_bytes + more,
        phases={name: count + more for name, count in prediction.phases.items()},
        ledger={**prediction.ledger, row: prediction.ledger[row] + more},
        reserved_bytes=None if reserved is None else reserved + more,
    )


def fits(prediction: Prediction, chips: Mapping[str, Peak]) -> dict[str, Fit]:
    """Chip -> whether the prediction fits, for those whose memory is known, and how long its step
    takes there at least.
    """
    spare = {
        name: chip.memory_bytes - ALLOWANCE.needed_bytes(on_chip(prediction, chip.arch).peak_bytes)
        for name, chip in chips.items()
        if chip.memory_bytes is not None
    }
    return {
        name: Fit(ok=left >= 0, spare_bytes=left, bound_s=_bound_s(prediction, chips[name]))
        for name, left in spare.items()
    }


def _bound_s(prediction: Prediction, chip: Peak) -> float | None:
    ceilings = ceilings_of(chip, prediction.cell.world_size)
    if ceilings is None or not prediction.demand:
        return None
    return bound_of(prediction.demand, ceilings).seconds


def largest_batch(cell: Cell, memory_bytes: int, plan: Plan) -> int:
    """The most pairs per step that fit, by a line through two plans and those that verify it."""
    first, second = cell.batch, 2 * cell.batch

    def needed(pairs: int) -> int:
        return _needed(plan({"batch": pairs, "rows": 0}))

    known = {pairs: needed(pairs) for pairs in (first, second)}
    none = 2 * known[first] - known[second]
    guess = _crossing((0, none), (second, known[second]), memory_bytes)
    return _verified(guess, 1, memory_bytes, needed, {0: none, **known})


def largest_seq_len(cell: Cell, memory_bytes: int, plan: Plan) -> int:
    """The longest T that fits, prompts half of it: a parabola through three plans, others verify.

    In multiples of 64 tokens.
    """
    lengths = [cell.seq_len, 2 * cell.seq_len, 4 * cell.seq_len]

    def needed(length: int) -> int:
        return _needed(plan({"seq_len": length, "prompt_len": length // 2}))

    known = {length: needed(length) for length in lengths}
    curve = _parabola(lengths, list(known.values()))
    low, high = 0, LARGEST // _TOKENS
    while low < high:  # the largest multiple at which the parabola stays within the memory
        middle = (low + high + 1) // 2
        within = curve(middle * _TOKENS) <= memory_bytes + 1
        low, high = (middle, high) if within else (low, middle - 1)
    return _verified(low * _TOKENS, _TOKENS, memory_bytes, needed, {0: round(curve(0)), **known})


def _needed(prediction: Prediction) -> int:
    return ALLOWANCE.needed_bytes(prediction.peak_bytes)


def _parabola(xs: Sequence[int], ys: Sequence[int]) -> Callable[[int], float]:
    """Lagrange's polynomial through three points."""

    def value(x: int) -> float:
        total = 0.0
        for i, xi in enumerate(xs):
            term = float(ys[i])
            for j, xj in enumerate(xs):
                if j != i:
                    term *= (x - xj) / (xi - xj)
            total += term
        return total

    return value


_Point = tuple[int, int]
"""A value and the bytes that it needs."""


def _crossing(one: _Point, other: _Point, memory_bytes: int) -> int:
    """Where the line through both crosses the memory."""
    rise = other[1] - one[1]
    if rise <= 0:
        return LARGEST
    # A byte more: a division that rounds down must not lose what fits exactly. A plan verifies.
    return min(LARGEST, one[0] + (memory_bytes + 1 - one[1]) * (other[0] - one[0]) // rise)


def _verified(
    guess: int,
    step: int,
    memory_bytes: int,
    needed: Callable[[int], int],
    known: Mapping[int, int],
) -> int:
    """The largest multiple of ``step`` that fits by a plan of its own; 0 if none does.

    ``known``: value -> bytes that it needs. A guess far beyond them may be off by any number of
    steps: bytes are rounded to blocks, and a small step's peak is not where a large one's is. So
    the next guess is where the line through the nearest two values crosses the memory, until that
    is no other value, or for `_TRIES` plans.
    """
    points = sorted(known.items())
    low = max((point for point in points if point[1] <= memory_bytes), default=None)
    high = min((point for point in points if point[1] > memory_bytes), default=None)
    if low is None:
        return 0
    value = guess
    for _ in range(_TRIES):
        most = LARGEST if high is None else (high[0] - 1) // step * step
        value = min(max(value // step * step, (low[0] // step + 1) * step), most)
        if value <= low[0]:
            break
        found = value, needed(value)
        before, low, high = (low, found, high) if found[1] <= memory_bytes else (low, low, found)
        value = _crossing(low, high or before, memory_bytes)
        if high is None and value < low[0] + step:
            break
    return low[0] // step * step
