"""Peak memory of one method versus another's, pair by pair."""

__all__ = ["delta_parts"]

from collections import defaultdict
from collections.abc import Iterator, Sequence

from alignmeter.analysis.delta import Delta
from alignmeter.cells.cell import Cell
from alignmeter.cells.labels import axis_text, layout_text, varied
from alignmeter.records.record import VRAM
from alignmeter.registry import METHODS
from alignmeter.terminal.tables import Column, Grid, Paragraph, Part, Row, figure, label
from alignmeter.text import plain
from alignmeter.units import bytes_text

_SHOWN = ("method", "architecture", "peft", *(axis for m in METHODS.values() for axis in m.layout))
"""Axes that have a column of their own, and the method, which the head names."""


def delta_parts(rows: Sequence[Delta]) -> Iterator[Part]:
    """A table per kind of memory and device; where there are several devices it names its own."""
    places = sorted({(row.kind, row.device) for row in rows})
    for kind, device in places:
        mine = [row for row in rows if (row.kind, row.device) == (kind, device)]
        where = f"{kind}, {plain(device)}" if len({name for _, name in places}) > 1 else kind
        yield Paragraph("")
        yield Paragraph(f"DPO versus PPO: peak memory of one step ({where})", "bold", hang=2)
        yield _table(mine)
        yield Paragraph("saved: what DPO saves of PPO's peak; negative where DPO needs more.")
        if kind != VRAM:
            yield Paragraph("CPU figures are bytes of tensors. They say nothing about VRAM.")


def _table(rows: Sequence[Delta]) -> Grid:
    """An axis has a column where without it two rows would read alike."""
    alike: dict[tuple[object, ...], list[Cell]] = defaultdict(list)
    for row in rows:
        alike[tuple(getattr(row.versus, name) for name in _SHOWN)].append(row.versus)
    others = list(dict.fromkeys(name for cells in alike.values() for name in varied(cells)))
    columns = (
        Column("architecture"), label("peft"), Column("PPO layout"),
        *(Column(name.replace("_", " ")) for name in others),
        figure("DPO"), figure("PPO"), figure("delta"), figure("saved"),
    )  # fmt: skip
    return Grid(columns, [_row(row, others) for row in rows])


def _row(row: Delta, others: Sequence[str]) -> Row:
    cell = row.versus
    return Row(
        (
            cell.architecture,
            cell.peft,
            layout_text(cell),
            *(axis_text(cell, name) for name in others),
            bytes_text(row.peak_bytes),
            bytes_text(row.versus_peak_bytes),
            bytes_text(row.bytes),
            f"{row.percent:.1f} %",
        )
    )
