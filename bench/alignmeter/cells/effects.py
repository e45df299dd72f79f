"""What has no effect: axis flags, keys of a matrix and exclusions that change no cell.

None of them is an error, for a matrix may serve many commands. But who wrote one meant something by
it, and is told. What a flag took the effect of is not told: that is what flags are for.
"""

__all__ = ["excludes", "flags_without_effect", "without_effect"]

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from alignmeter.cells.axes import AXES, AxisValue, path_of
from alignmeter.cells.cell import Cell
from alignmeter.cells.matrix import Choice, Exclusion, Grid, Matrix
from alignmeter.cells.places import place_of
from alignmeter.registry import unused_axes, users_of

Pairs = Sequence[tuple[Choice, Cell]]
"""What was chosen, and the cell that came of it."""
_DECIDING = frozenset(("method", "peft"))
"""Axes that decide which others a cell uses."""


def excludes(exclusion: Exclusion, cell: Cell, auto: AxisValue, but: Collection[str] = ()) -> bool:
    """Whether it is of this cell, all of whose defaults are filled in.

    An axis that changes nothing in the cell is not one on which it could be excluded. ``auto``: the
    accelerator that is meant by it here. ``but``: axes on which any value will do.
    """
    unused = unused_axes(partial(getattr, cell))
    for name, values in exclusion.axes.items():
        if name in but or (name in unused and not _DECIDING.isdisjoint(but)):
            continue
        resolved = [auto if name == "accelerator" and v == "auto" else v for v in values]
        if name in unused or not _among(name, cell, resolved, exclusion.folder):
            return False
    return True


def _among(name: str, cell: Cell, values: Sequence[AxisValue], folder: Path | None) -> bool:
    """Whether the cell has one of these values, whatever way its path is written."""
    mine = getattr(cell, name)
    path = path_of(name, mine)
    if mine in values or path is None:
        return mine in values
    place, rest = Path(place_of(path)).resolve(), str(mine)[len(path) :]
    others = ((str(value), path_of(name, value)) for value in values)
    return any(
        ((folder or Path()) / other).resolve() == place and value[len(other) :] == rest
        for value, other in others
        if other is not None
    )


def without_effect(
    matrix: Matrix, overrides: Mapping[str, Sequence[AxisValue]], pairs: Pairs, auto: AxisValue
) -> Iterator[str]:
    """A sentence for each flag, key and exclusion that changes none of the cells.

    ``overrides``: the axis flags. ``auto``: the accelerator that is meant by it here.
    """
    yield from flags_without_effect(overrides, pairs)
    if _DECIDING.isdisjoint(overrides):
        yield from _keys_without_effect(matrix, overrides, pairs)
    for exclusion in matrix.excludes:
        if not any(excludes(exclusion, cell, auto, overrides) for _, cell in pairs):
            yield f"{exclusion.where} matches no cell: {_shown(exclusion.axes)}"


def flags_without_effect(
    overrides: Mapping[str, Sequence[AxisValue]], pairs: Pairs
) -> Iterator[str]:
    """A sentence for each flag that changes none of the cells."""
    for name in overrides:
        if not any(_counts(name, choice, cell) for choice, cell in pairs):
            yield f"{AXES[name].flag} changes nothing: {_why(name)}"


def _keys_without_effect(matrix: Matrix, overrides: Collection[str], pairs: Pairs) -> Iterator[str]:
    tables = [(f"{matrix.where}: [defaults]", matrix.defaults, pairs)]
    for i, grid in enumerate(matrix.grids):
        own = [pair for pair in pairs if pair[0].grid == i]
        tables.append((f"{matrix.where}: [[grid]] {i + 1}", grid, own))
    for where, table, chosen in tables:
        for name in table:
            counted = (_counts(name, choice, cell) for choice, cell in chosen)
            if name not in overrides and chosen and not any(counted):
                yield f"{where}: {name} changes nothing: {_why(name)}"


def _counts(name: str, choice: Choice, cell: Cell) -> bool:
    """Whether the cell uses what was chosen on that axis."""
    if name in unused_axes(partial(getattr, cell)):
        return False
    return choice.axes[name] in (getattr(cell, name), "auto")


def _why(name: str) -> str:
    users = users_of(name)
    if not users:
        return "it follows from another axis in every cell"
    return f"it is for {' and '.join(users)}, and no cell here is of that kind"


def _shown(axes: Grid) -> str:
    return ", ".join(f"{name} = {' or '.join(map(str, values))}" for name, values in axes.items())
