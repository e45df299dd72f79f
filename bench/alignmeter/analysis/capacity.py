"""What searches for capacity say: which are the same, and how close the plans came."""

__all__ = [
    "merged",
    "plan_error_percent",
    "search_key",
    "search_name",
    "shape",
    "summary",
]

import statistics
from collections.abc import Sequence

from alignmeter.cells.cell import Cell
from alignmeter.records.capacity import CapacityPoint, SearchedAxis
from alignmeter.text import counted


def search_key(cell: Cell, axis: SearchedAxis) -> tuple[object, ...]:
    """Equal for two cells whose searches along ``axis`` are the same: they differ in it alone."""
    return axis, *cell.without(axis)


def merged(points: Sequence[CapacityPoint], new: CapacityPoint) -> list[CapacityPoint]:
    """``points`` with ``new`` in place of an earlier search of the same for the same limit."""
    key = search_key(new.cell, new.axis), new.limit_bytes, new.limit_given
    kept = [p for p in points if (search_key(p.cell, p.axis), p.limit_bytes, p.limit_given) != key]
    return [*kept, new]


def search_name(point: CapacityPoint) -> str:
    """The cell's id without its digest and without the axis that was searched."""
    return point.cell.name(point.axis)


def shape(point: CapacityPoint) -> tuple[int, int] | None:
    """Tokens per sequence and pairs per step at the largest value; ``None`` if nothing ran."""
    if point.largest is None:
        return None
    if point.axis == "batch":
        return point.cell.seq_len, point.largest
    return point.largest, point.cell.batch


def plan_error_percent(point: CapacityPoint) -> float | None:
    """How far the planned value is above the measured one, in per cent of the measured."""
    if point.planned is None or not point.largest:
        return None
    return 100 * (point.planned - point.largest) / point.largest


def summary(points: Sequence[CapacityPoint]) -> str:
    """One line: how many tries the searches took, and how far off the plans were."""
    tries = [len(point.tries) for point in points if point.tries]
    if not tries:
        return "nothing was searched"
    parts = [f"{counted(len(tries), 'search', 'searches')}, {_range(tries)} each"]
    errors = [e for e in map(plan_error_percent, points) if e is not None]
    off = sorted(error for error in errors if error)
    if errors:
        parts.append(f"the plan was exact in {len(errors) - len(off)} of {len(errors)}")
    text = ", ".join(parts)
    if off:
        text += f" and else off by {off[0]:+.1f} %"
        text = text if off[0] == off[-1] else f"{text[:-2]} to {off[-1]:+.1f} %"
    return text


def _range(tries: Sequence[int]) -> str:
    least, most = min(tries), max(tries)
    if least == most:
        return counted(most, "try", "tries")
    return f"{least} to {most} tries (median {statistics.median(tries):g})"
