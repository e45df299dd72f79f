"""What the bar of a cell is called."""

__all__ = ["bar_label", "told_apart"]

from collections.abc import Iterable, Sequence

from alignmeter.cells.cell import Cell
from alignmeter.cells.labels import layout_text, varied

_NAMED = {"size": "", "seq_len": "T=", "batch": "B=", "precision": "", "kernels": ""}
"""Axis -> what stands before its value."""


def told_apart(cells: Iterable[Cell]) -> list[str]:
    """Axes that labels must name here, for the bars differ in them."""
    return varied(cells, _NAMED)


def bar_label(cell: Cell, named: Sequence[str]) -> str:
    """Architecture, PEFT mode, method, the axes ``named`` by `told_apart`, and the layout."""
    text = f"{cell.architecture} {cell.peft} {cell.method.upper()}"
    text += "".join(f" {_NAMED[name]}{getattr(cell, name)}" for name in named)
    return f"{text} ({layout})" if (layout := layout_text(cell)) else text
