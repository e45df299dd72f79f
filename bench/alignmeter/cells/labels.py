"""What a reader needs to know a cell by."""

__all__ = ["cell_text", "layout_text"]

from collections.abc import Sequence

from alignmeter.cells.axes import AXES
from alignmeter.cells.cell import Cell
from alignmeter.registry import METHODS


def layout_text(cell: Cell, between: str = " ") -> str:
    """Values of the axes that decide what its method's figures are figures of: ``separate joint``.

    Empty for a method without such, and for one that this version does not know.
    """
    row = METHODS.get(cell.method)
    axes = () if row is None else row.layout
    return between.join(str(getattr(cell, name)) for name in axes)


def cell_text(cell: Cell, *, without: Sequence[str] = ()) -> str:
    """In words: ``llama, tiny, lora, separate sequential, T 64, B 2``."""
    parts = {
        "method": cell.method,
        "architecture": cell.architecture,
        "size": cell.size,
        "peft": cell.peft,
        "layout": layout_text(cell),
        "epochs": _passes(cell),
        "kernels": _off_default(cell, "kernels"),
        "checkpointing": "checkpointed" if cell.checkpointing == "on" else "",
        "seq_len": f"T {cell.seq_len}",
        "batch": f"B {cell.batch}",
        "lane": _off_default(cell, "lane"),
    }
    return ", ".join(text for name, text in parts.items() if text and name not in without)


def _off_default(cell: Cell, axis: str) -> str:
    value = getattr(cell, axis)
    return "" if value == AXES[axis].default else str(value)


def _passes(cell: Cell) -> str:
    once = (cell.ppo_epochs, cell.ppo_minibatches) == (1, 1)
    return "" if once else f"{cell.ppo_epochs} x {cell.ppo_minibatches} passes"
