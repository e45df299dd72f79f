"""The table of all cells: its columns, how far along each a figure is, what its reasons mean."""

__all__ = ["Figure", "MatrixView", "heat", "helps", "matrix_view"]

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from alignmeter.analysis.intervals import LEAST_REPLICATES, Estimate
from alignmeter.cells.naming import Naming
from alignmeter.records.reasons import REASONS, Code
from alignmeter.units import bytes_text, digits, joules_text, seconds_text, span_text
from alignmeter_reports.cells import CellRow, Column, Why
from alignmeter_reports.sections.cost import CostView

_STRONGEST = 36
"""Per cent of the shade at the column's largest figure: the ink on it keeps its contrast."""
_SHADED: dict[str, tuple[str, Callable[[CellRow], float | None]]] = {
    "time": ("time", lambda row: row.time_s.value if row.time_s else None),
    "peak": ("memory", lambda row: row.peak_bytes),
    "energy": ("energy", lambda row: row.energy_j),
}
"""Column -> the metric that must be valid, and the figure."""
_MOST_ENERGY_REASONS = 10
_DASH = "\N{EN DASH}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """What a row has in a column. ``value``: what sorts it, ``None`` where there is no figure.

    ``note``: a second line, such as an interval. ``shade``: per cent of the strongest.
    """

    text: str = _DASH
    value: float | None = None
    note: str = ""
    shade: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class MatrixView:
    """``lines``: each row with its figures, in the order of ``columns``.

    ``shared``: what all cells have in common. ``devices``: their names. ``absent``: heads of
    columns in which no row has a figure. ``energy_reasons``: why rows have no energy. ``whys``:
    anchor -> reason code -> the metrics or statuses that it is about.
    """

    columns: list[Column]
    lines: list[tuple[CellRow, list[Figure]]]
    shared: str
    devices: list[str]
    absent: list[str]
    helps: list[Code]
    energy_reasons: list[str]
    whys: dict[str, dict[str, list[str]]]


def matrix_view(rows: Sequence[CellRow], cost: CostView) -> MatrixView:
    """The rows in their order; costs stand in it where prices were given."""
    shades = heat(rows)
    every = [*_COLUMNS, *_money(cost)]
    figures = {
        column.key: [_shaded(pick(row), shades.get((row.anchor, column.key), 0)) for row in rows]
        for column, pick in every
    }
    shown = [c for c, _ in every if any(f.text != _DASH for f in figures[c.key])]
    without = (row for row in rows if "ok" in row.statuses and not row.energy_j)
    reasons = dict.fromkeys(row.energy_reason for row in without if row.energy_reason)
    return MatrixView(
        columns=shown,
        lines=[(row, [figures[c.key][k] for c in shown]) for k, row in enumerate(rows)],
        shared=Naming(row.cell for row in rows).shared,
        devices=list(dict.fromkeys(row.where for row in rows)),
        absent=[column.head for column, _ in every if column not in shown],
        helps=helps(rows),
        energy_reasons=list(reasons)[:_MOST_ENERGY_REASONS],
        whys={row.anchor: _by_code(row) for row in rows},
    )


def _shaded(found: Figure, shade: int) -> Figure:
    return Figure(text=found.text, value=found.value, note=found.note, shade=shade)


def _figure(
    row: CellRow, metric: str, value: float | None, text: Callable[[float], str], note: str = ""
) -> Figure:
    """The figure with the star of its metric, where that is invalid."""
    if not value:
        return Figure()
    return Figure(text=text(value) + ("*" if metric in row.invalid else ""), value=value, note=note)


def _interval(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return f"interval needs {LEAST_REPLICATES} replicates"
    return span_text(seconds_text(found.low), seconds_text(found.high))


def _time(row: CellRow) -> Figure:
    if row.time_s is None:
        return Figure()
    return _figure(row, "time", row.time_s.value, seconds_text, _interval(row.time_s))


def _plan(row: CellRow) -> Figure:
    error = row.plan_error_percent
    if error is not None:
        return Figure(text=f"{error:+.1f} %" if abs(error) >= 0.05 else "0.0 %", value=error)
    planned = row.predicted_peak_bytes
    return Figure() if planned is None else Figure(text=f"{bytes_text(planned)} planned")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _whole(rate: float) -> str:
    return f"{rate:.0f}"


_COLUMNS: list[tuple[Column, Callable[[CellRow], Figure]]] = [
    (Column(key="time", head="step time"), _time),
    (
        Column(key="peak", head="peak memory"),
        lambda row: _figure(row, "memory", row.peak_bytes, bytes_text),
    ),
    (
        Column(key="rate", head="trained tokens/s"),
        lambda row: _figure(row, "time", row.trained_per_s, _whole),
    ),
    (
        Column(key="energy", head="energy per step"),
        lambda row: _figure(row, "energy", row.energy_j, joules_text),
    ),
    (Column(key="plan", head="plan", more=True), _plan),
    (
        Column(key="reserved", head="reserved", more=True),
        lambda row: _figure(row, "memory", row.reserved_bytes, bytes_text),
    ),
    (
        Column(key="generated", head="generated tokens/s", more=True),
        lambda row: _figure(row, "time", row.generated_per_s, _whole),
    ),
    (Column(key="mfu", head="MFU", more=True), lambda row: _figure(row, "time", row.mfu, _percent)),
    (
        Column(key="bound", head="share of the bound", more=True),
        lambda row: _figure(row, "time", row.bound_share, _percent),
    ),
    (
        Column(key="per-token", head="energy per 1000 tokens", more=True),
        lambda row: _figure(row, "energy", row.energy_per_1000_tokens_j, joules_text),
    ),
]
"""Time and memory first: they are on the first screen of a telephone."""


def _money(cost: CostView) -> list[tuple[Column, Callable[[CellRow], Figure]]]:
    """Costs by their row, with a star where time or energy is invalid."""
    if cost.prices is None:
        return []
    by_anchor = {found.row.anchor: found for found in cost.rows}

    def pick(row: CellRow) -> Figure:
        found = by_anchor.get(row.anchor)
        if found is None or found.money.per_steps is None:
            return Figure()
        text = digits(found.money.per_steps) + ("*" if "money" in found.invalid else "")
        return Figure(text=text, value=found.money.per_steps)

    return [(Column(key="money", head=f"{cost.prices.currency} per 1000 steps"), pick)]


def heat(rows: Sequence[CellRow]) -> dict[tuple[str, str], int]:
    """(Anchor, column) -> per cent of the shade, from the least figure's 0 on a logarithmic scale.

    Invalid figures have none, nor has a column whose figures are all alike.
    """
    shades: dict[tuple[str, str], int] = {}
    for column, (metric, pick) in _SHADED.items():
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
    given = {why.code for row in rows for _, why in _reasons(row)}
    return [code for name, code in REASONS.items() if name in given]


def _reasons(row: CellRow) -> Iterable[tuple[str, Why]]:
    """What each is about, with it. That there is no energy is said once, below the table."""
    for about, whys in (*row.failed.items(), *row.invalid.items()):
        if about != "energy" or row.energy_j:
            yield from ((about, why) for why in whys)


def _by_code(row: CellRow) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for about, why in _reasons(row):
        found.setdefault(why.code, []).append(about)
    return found
