"""What could make a cell smaller: the same cell with one axis changed."""

__all__ = ["box_cells", "changed_cell", "lever_cells"]

from collections.abc import Iterator

from alignmeter.batches.parts import units
from alignmeter.cells.axes import AxisValue
from alignmeter.cells.cell import Cell
from alignmeter.cells.labels import follows
from alignmeter.methods import open_method
from alignmeter.registry import LEVERS
from alignmeter.session.resolve import Planned, resolve_cell


def changed_cell(cell: Cell, **axes: AxisValue) -> Planned:
    """The cell with these axes changed; what followed from others follows from these."""
    own = {name: value for name, value in cell.axes().items() if not follows(cell, name)}
    return resolve_cell({**own, **axes})


def lever_cells(cell: Cell) -> Iterator[tuple[str, AxisValue, Cell]]:
    """Axis, value and cell of each lever that changes the cell and contradicts nothing in it."""
    seen = {cell.id}
    for axis, value in _values(cell):
        planned = changed_cell(cell, **{axis: value})
        if planned.contradiction is None and planned.cell.id not in seen:
            seen.add(planned.cell.id)
            yield axis, value, planned.cell


_BOXES = (2, 4, 8, 16)


def box_cells(cell: Cell) -> Iterator[Cell]:
    """The cell on more devices, its batch raised to what divides; none that contradicts itself.

    Weights are shared out, unless the cell says otherwise.
    """
    axis, count = ("rows", cell.rows) if cell.rows else ("batch", cell.batch)
    parallel = "fsdp2" if cell.parallel == "none" else cell.parallel
    for size in _BOXES:
        axes: dict[str, AxisValue] = {"world_size": size, "parallel": parallel}
        planned = changed_cell(cell, **axes, **{axis: -(-count // size) * size})
        if planned.contradiction is None:
            yield planned.cell


def _values(cell: Cell) -> Iterator[tuple[str, AxisValue]]:
    """Of the table, then a pass for each row or pair, half of the batch, and the smallest one."""
    for axis, values in LEVERS.items():
        yield from ((axis, value) for value in values)
    yield "microbatches", units(cell.step_rows, open_method(cell.method).rows)
    axis, count = ("rows", cell.rows) if cell.rows else ("batch", cell.batch)
    if count > 1:
        yield axis, count // 2
        yield axis, 1
