"""Where a predicted peak fits, and how large a batch or a sequence would."""

__all__ = ["ALLOWANCE", "Allowance", "fits", "largest_batch", "largest_seq_len", "on_chip"]

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
_MOST = 2**20


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
    ceilings = ceilings_of(chip)
    if ceilings is None or not prediction.demand:
        return None
    return bound_of(prediction.demand, ceilings).seconds


def largest_batch(cell: Cell, memory_bytes: int, plan: Plan) -> int:
    """The most pairs per step that fit, by a line through two plans and one that verifies it."""
    first, second = cell.batch, 2 * cell.batch
    low, high = (plan({"batch": pairs, "rows": 0}).peak_bytes for pairs in (first, second))
    slope = (high - low) / (second - first)
    room = _room(memory_bytes) - (low - slope * first)
    guess = _MOST if slope <= 0 else min(_MOST, int(room // slope))
    return _verified(guess, 1, memory_bytes, lambda batch: plan({"batch": batch, "rows": 0}))


def largest_seq_len(cell: Cell, memory_bytes: int, plan: Plan) -> int:
    """The longest T that fits, prompts half of it: a parabola through three plans, one verifies."""
    lengths = [cell.seq_len, 2 * cell.seq_len, 4 * cell.seq_len]

    def of(length: int) -> Prediction:
        return plan({"seq_len": length, "prompt_len": length // 2})

    peaks = [of(length).peak_bytes for length in lengths]
    curve = _parabola(lengths, peaks)
    room = _room(memory_bytes)
    low, high = 0, _MOST // _TOKENS
    while low < high:  # the largest multiple at which the parabola stays within the room
        middle = (low + high + 1) // 2
        low, high = (middle, high) if curve(middle * _TOKENS) <= room else (low, middle - 1)
    return _verified(low * _TOKENS, _TOKENS, memory_bytes, of)


def _room(memory_bytes: int) -> float:
    # A byte more: a division that rounds down must not lose what fits exactly. A plan verifies.
    return (memory_bytes - ALLOWANCE.context_bytes) / (1 + ALLOWANCE.fragmentation) + 1


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


def _verified(guess: int, step: int, memory_bytes: int, plan: Callable[[int], Prediction]) -> int:
    """``guess`` if its own plan fits, else the next smaller ones; 0 if none of eight does."""
    for value in range(guess, max(guess - 8 * step, 0), -step):
        if ALLOWANCE.needed_bytes(plan(value).peak_bytes) <= memory_bytes:
            return value
    return 0
