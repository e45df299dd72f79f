"""The table of all cells: how far along its column a figure is, and what its reasons mean."""

__all__ = ["heat", "helps"]

import math
from collections.abc import Callable, Sequence

from alignmeter.records.reasons import REASONS, Code
from alignmeter_reports.cells import CellRow, Why

_STRONGEST = 36
"""Per cent of the shade at the column's largest figure: the ink on it keeps its contrast."""
_COLUMNS: dict[str, tuple[str, Callable[[CellRow], float | None]]] = {
    "time": ("time", lambda row: row.time_s.value if row.time_s else None),
    "peak": ("memory", lambda row: row.peak_bytes),
    "energy": ("energy", lambda row: row.energy_j),
}
"""Column -> the metric that must be valid, and the figure."""


def heat(rows: Sequence[CellRow]) -> dict[tuple[str, str], int]:
    """(Anchor, column) -> per cent of the shade, from the least figure's 0 on a logarithmic scale.

    Invalid figures have none, nor has a column whose figures are all alike.
    """
    shades: dict[tuple[str, str], int] = {}
    for column, (metric, pick) in _COLUMNS.items():
        values = {
            row.anchor: math.log(value)
            for row in rows
            if metric not in row.invalid and (value := pick(row)) is not None and value > 0
        }
        least, most = min(values.values(), default=0.0), max(values.values(), default=0.0)
        for anchor, value in values.items():
            if most > least:
                shades[anchor, column] = round(_STRONGEST * (value - least) / (most - least))
    return shades


def helps(rows: Sequence[CellRow]) -> list[Code]:
    """The codes that the rows give as reasons, each once, in the order of docs/reasons.md."""
    given = {why.code for row in rows for why in _reasons(row)}
    return [code for name, code in REASONS.items() if name in given]


def _reasons(row: CellRow) -> list[Why]:
    return [why for about in (row.failed, row.invalid) for whys in about.values() for why in whys]
