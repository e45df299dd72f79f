"""Peak memory of one method versus another's, pair by pair."""

__all__ = ["delta_parts"]

from collections import defaultdict
from collections.abc import Iterator, Sequence

from alignmeter.analysis.delta import Delta
from alignmeter.analysis.words import memory_text
from alignmeter.cells.cell import Cell
from alignmeter.cells.labels import axis_text, follows, layout_text, varied
from alignmeter.records.record import VRAM
from alignmeter.registry import METHODS
from alignmeter.terminal.tables import Column, Grid, Paragraph, Part, Row, figure, label
from alignmeter.text import plain
from alignmeter.units import bytes_text

_SHOWN = ("method", "architecture", "peft", *(axis for m in METHODS.values() for axis in m.layout))
"""Axes that have a column of their own, and the method, which the head names."""


def delta_parts(rows: Sequence[Delta]) -> Iterator[Part]:
    """A table per pair of methods, kind of memory and device, which it names if there are more."""
    tables: dict[tuple[tuple[str, str], str, str], list[Delta]] = defaultdict(list)
    for row in rows:
        tables[row.names, row.kind, row.device].append(row)
    several = len({row.device for row in rows}) > 1
    for (less, more), kind, device in sorted(tables, key=lambda key: key[1:]):
        memory = memory_text(kind)
        where = f"{memory}, {plain(device)}" if several else memory
        yield Paragraph("")
        yield Paragraph(f"{less} versus {more}: peak memory of one step ({where})", "bold", hang=2)
        yield _table(tables[(less, more), kind, device], less, more)
        yield Paragraph(
            f"saved: what {less} saves of {more}'s peak; negative where {less} needs more."
        )
        if kind != VRAM:
            yield Paragraph("CPU figures are bytes of tensors. They say nothing about VRAM.")


def _table(rows: Sequence[Delta], less: str, more: str) -> Grid:
    """An axis has a column where without it two rows would read alike."""
    alike: dict[tuple[object, ...], list[Cell]] = defaultdict(list)
    for row in rows:
        alike[tuple(getattr(row.versus, name) for name in _SHOWN)].append(row.versus)
    others = [
        name
        for name in dict.fromkeys(name for cells in alike.values() for name in varied(cells))
        if any(not follows(row.versus, name) for row in rows)
    ]
    columns = (
        Column("architecture"), label("peft"), Column(f"{more} layout"),
        *(Column(name.replace("_", " ")) for name in others),
        figure(less), figure(more), figure("delta"), figure("saved"),
    )  # fmt: skip
    return Grid(columns, [part for row in rows for part in _row(row, others)])


def _row(row: Delta, others: Sequence[str]) -> Iterator[Row | Paragraph]:
    cell = row.versus
    yield Row(
        (
            cell.architecture,
            cell.peft,
            layout_text(cell),
            *(axis_text(cell, name).removeprefix(f"{name} ") for name in others),
            bytes_text(row.peak_bytes),
            bytes_text(row.versus_peak_bytes),
            bytes_text(row.bytes),
            f"{row.percent:.1f} %",
        )
    )
    if row.differing:
        yield Paragraph(plain(f"differs: {row.differing}"), indent=2, hang=2)
