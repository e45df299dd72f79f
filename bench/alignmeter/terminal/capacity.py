"""Searches for what fits, in the terminal."""

__all__ = ["capacity_lines"]

import textwrap
from collections.abc import Iterator, Sequence

from alignmeter.analysis.capacity import search_name, summary
from alignmeter.records.capacity import CapacityPoint
from alignmeter.units import bytes_text

_COLUMNS = "{:<30} {:>9} {:>8} {:>8} {:>10} {:>5}"
_WIDTH = 78
_GLUE = "\N{NO-BREAK SPACE}"


def capacity_lines(points: Sequence[CapacityPoint]) -> Iterator[str]:
    """The table for the terminal, in lines of at most 79 columns, and one that sums it up."""
    yield _COLUMNS.format("", "limit", "planned", "largest", "its peak", "tries")
    last = None
    for point in sorted(points, key=lambda p: (search_name(p), p.axis, p.cell.id)):
        if search_name(point) != last:
            last = search_name(point)
            yield last
        yield _line(point)
        if point.reason is not None:
            yield from textwrap.wrap(
                point.reason, _WIDTH, initial_indent="    ", subsequent_indent="    "
            )
    yield ""
    for line in textwrap.wrap(summary(points).replace(" %", f"{_GLUE}%"), _WIDTH):
        yield line.replace(_GLUE, " ")


def _line(point: CapacityPoint) -> str:
    held = f"T {point.cell.seq_len}" if point.axis == "batch" else f"B {point.cell.batch}"
    return _COLUMNS.format(
        f"  largest {point.axis.replace('_', ' ')} at {held}",
        "-" if point.limit_bytes is None else bytes_text(point.limit_bytes),
        "-" if point.planned is None else point.planned,
        "none" if point.largest is None else point.largest,
        "-" if point.peak_bytes is None else bytes_text(point.peak_bytes),
        len(point.tries),
    )
