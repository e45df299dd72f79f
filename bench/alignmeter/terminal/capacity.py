"""Searches for what fits: their limit, plan, result and tries."""

__all__ = ["capacity_parts"]

from collections.abc import Iterator, Sequence

from alignmeter.analysis.capacity import search_name, summary
from alignmeter.records.capacity import CapacityPoint
from alignmeter.terminal.tables import Column, Grid, Paragraph, Part, Row, figure
from alignmeter.text import plain
from alignmeter.units import bytes_text

_COLUMNS = (Column("searched"), figure("limit"), figure("planned"), figure("largest"),
            figure("its peak"), figure("tries"))  # fmt: skip
_GLUE = "\N{NO-BREAK SPACE}"


def capacity_parts(points: Sequence[CapacityPoint]) -> Iterator[Part]:
    """The table, in order of the cells, and one sentence that sums it up."""
    rows: list[Row | Paragraph] = []
    last = None
    for point in sorted(points, key=lambda p: (search_name(p), p.axis, p.cell.id)):
        if search_name(point) != last:
            last = search_name(point)
            rows.append(Paragraph(plain(last), "bold", hang=2))
        rows.append(_row(point))
        if point.reason is not None:
            rows.append(Paragraph(plain(point.reason), indent=4))
    yield Grid(_COLUMNS, rows, indent=2)
    yield Paragraph("")
    yield Paragraph(summary(points).replace(" %", f"{_GLUE}%"))


def _row(point: CapacityPoint) -> Row:
    held = f"T {point.cell.seq_len}" if point.axis == "batch" else f"B {point.cell.batch}"
    return Row(
        (
            f"largest {point.axis.replace('_', ' ')} at {held}",
            "-" if point.limit_bytes is None else bytes_text(point.limit_bytes),
            "-" if point.planned is None else str(point.planned),
            "none" if point.largest is None else str(point.largest),
            "-" if point.peak_bytes is None else bytes_text(point.peak_bytes),
            str(len(point.tries)),
        )
    )
