"""What the bar of a cell is called: as its row is."""

__all__ = ["bar_label", "told_apart"]

from collections.abc import Iterable

from alignmeter.cells.cell import Cell
from alignmeter.cells.naming import Naming


def told_apart(cells: Iterable[Cell]) -> Naming:
    """Names of the cells that bars are drawn of."""
    return Naming(cells)


def bar_label(cell: Cell, named: Naming) -> str:
    """``DPO llama LoRA, T 64``, by ``named``, which `told_apart` gave."""
    return named.of(cell)
