"""The section on where the memory goes: ledger, what surrounds it, and the plan's figures."""

__all__ = ["FootprintView", "MemoryView", "Planned", "memory_view"]

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from alignmeter.analysis.footprint import FootprintRow, footprint, prediction_error_percent
from alignmeter.cells.labels import spelled
from alignmeter.records.record import OWNERS, VRAM, Memory, Record
from alignmeter_reports.cells import CellRow
from alignmeter_reports.drawing.memory_charts import Point, diagonal

_LEAST_POINTS = 3
"""Fewer are told by the table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FootprintView:
    """The replicate of a cell with the largest peak. ``owners``: bytes by owner, largest first.

    ``rows``: what surrounds the ledger, by name; empty where memory is not VRAM.
    """

    cell_id: str
    device: str
    memory: Memory
    owners: dict[str, int]
    rows: dict[str, FootprintRow]


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """A plan's peak of one cell and the measured one. ``error_percent``: of the measured."""

    cell_id: str
    device: str
    kind: str
    predicted_bytes: int
    measured_bytes: int
    error_percent: float


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryView:
    """``on_device``: cells measured as VRAM; ``tensors``: those measured otherwise.

    ``notes``: one sentence per reason of a row. ``misfits``: what is planned not to fit.
    """

    on_device: list[FootprintView]
    tensors: list[FootprintView]
    notes: list[str]
    predictions: list[Planned]
    chart: Markup
    misfits: list[Record]


def memory_view(records: Sequence[Record], cells: Sequence[CellRow]) -> MemoryView:
    """``cells`` are the rows over ``records``, both in the order of the page."""
    measured = [
        _footprint(cell.heaviest, cell.device) for cell in cells if cell.heaviest is not None
    ]
    return MemoryView(
        on_device=[view for view in measured if view.rows],
        tensors=[view for view in measured if not view.rows],
        notes=_notes(measured),
        predictions=[row for cell in cells for row in _predictions(cell)],
        chart=_chart(records),
        misfits=_misfits(records),
    )


def _footprint(record: Record, device: str) -> FootprintView:
    counts = {owner: record.ledger.get(f"{owner}_bytes", 0) for owner in OWNERS}
    owners = sorted((o for o in OWNERS if counts[o]), key=lambda o: -counts[o])
    on_device = record.memory.kind == VRAM
    return FootprintView(
        cell_id=record.cell.id,
        device=device,
        memory=record.memory,
        owners={owner.replace("_", " "): counts[owner] for owner in owners},
        rows={row.name: row for row in footprint(record)} if on_device else {},
    )


def _notes(views: Sequence[FootprintView]) -> list[str]:
    rows = [row for view in views for row in view.rows.values() if row.reason]
    return list(dict.fromkeys(f"{row.name.replace('_', ' ')}: {row.reason}" for row in rows))


def _predictions(cell: CellRow) -> list[Planned]:
    record = cell.heaviest
    if record is None or cell.plan_error_percent is None:
        return []
    return [
        Planned(
            cell_id=cell.cell.id,
            device=cell.device,
            kind=record.memory.kind,
            predicted_bytes=record.memory.predicted_peak_bytes or 0,
            measured_bytes=record.memory.allocated_peak_bytes or 0,
            error_percent=cell.plan_error_percent,
        )
    ]


def _chart(records: Sequence[Record]) -> Markup:
    points = [
        Point(
            group=f"{spelled('method', record.cell.method)} {record.cell.architecture}",
            measured=record.memory.allocated_peak_bytes or 0,
            predicted=record.memory.predicted_peak_bytes or 0,
        )
        for record in records
        if record.status == "ok" and prediction_error_percent(record.memory) is not None
    ]
    if len(points) < _LEAST_POINTS:
        return Markup()
    title = "Peak memory as planned versus as measured, both axes logarithmic"
    # matplotlib writes the SVG and escapes the labels; nothing of a record gets here unescaped.
    return Markup(diagonal(points, title=title))  # noqa: S704


def _misfits(records: Sequence[Record]) -> list[Record]:
    """One per cell and device: its replicates say the same."""
    misfits = {
        (record.cell.id, record.provenance.device): record
        for record in records
        if record.status == "predicted_oom"
    }
    return list(misfits.values())
