"""Few cells that cover much: every pair of axis values, and every method with every model."""

__all__ = ["checkpoint_cells", "covering_cells", "possible_cells"]

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, combinations, product
from pathlib import Path

import torch
from allpairspy import AllPairs
from saved_checkpoints import CONFIGS, save

from alignmeter.cells.axes import AXES, AxisValue
from alignmeter.cells.cell import Cell
from alignmeter.registry import METHODS
from alignmeter.session.resolve import resolve_cell

_LOOP_TOKENS = 32
"""Longest sequence of a stock Mamba-1, whose scan is a Python loop over the tokens."""
_CONSTANT: Mapping[str, AxisValue] = {"accelerator": "cpu", "data": "synthetic", "size": "tiny"}
_Row = tuple[int, ...]
"""Which value a cell has on each of `_AXES`."""


def _layouts() -> Iterator[dict[str, AxisValue]]:
    """Every method in each layout that its row in the registry tells apart."""
    for method, row in METHODS.items():
        for values in product(*(AXES[axis].choices for axis in row.layout)):
            yield {"method": method, **dict(zip(row.layout, values, strict=True))}


def _values(axis: str, *without: str) -> list[dict[str, AxisValue]]:
    return [{axis: value} for value in AXES[axis].choices if value not in without]


_AXES: Sequence[Sequence[Mapping[str, AxisValue]]] = (
    list(_layouts()),
    _values("architecture"),
    _values("peft"),
    [{"seq_len": t, "batch": b} for t, b in ((16, 2), (32, 3), (64, 1), (160, 1))],
    _values("kernels", "vendor"),  # whose operators no plan knows
    _values("precision"),
    _values("checkpointing"),
    _values("ref"),
)
_MODEL = 3
"""Layout, architecture and PEFT mode: every combination of these first three is covered."""


def covering_cells() -> list[Cell]:
    """Tiny cells on the CPU, the same ones in the same order every time.

    Among them are every pair of values of two axes that a possible cell has (methods and their
    layouts count as one axis, sequence length and batch as another), and every method or layout
    with every architecture and PEFT mode.
    """
    cells = possible_cells()
    starts = {row[:length] for row in cells for length in range(1, len(row) + 1)}
    chosen = _one_of_each_model(starts)
    for pair in dict.fromkeys(chain(*map(_pairs, cells))):
        if not any(pair in _pairs(row) for row in chosen):
            fixed = dict(pair)
            numbers = [[fixed[i]] if i in fixed else every for i, every in enumerate(_numbers())]
            chosen.append(next(_rows(numbers, starts.__contains__)))
    return sorted((cells[row] for row in chosen), key=lambda cell: cell.id)


def _one_of_each_model(starts: set[_Row]) -> list[_Row]:
    """As few rows as there are models, with nearly all pairs.

    The library ends a pass where the next row would have no pair that is new to it. The first pass
    takes about half of the models, the others those that are left.
    """
    chosen: list[_Row] = []
    models = {start for start in starts if len(start) == _MODEL}

    def fresh(start: _Row) -> bool:
        return start in starts and (len(start) < _MODEL or start[:_MODEL] in models)

    while models:
        for row in _rows(_numbers(), fresh):
            models.remove(row[:_MODEL])
            chosen.append(row)
    return chosen


def _rows(numbers: list[list[int]], possible: Callable[[_Row], bool]) -> Iterator[_Row]:
    """Rows that pair by pair are new; ``possible`` says whether one can begin like this."""
    return map(tuple, AllPairs(numbers, filter_func=lambda start: possible(tuple(start))))


def _numbers() -> list[list[int]]:
    return [list(range(len(values))) for values in _AXES]


def _pairs(row: _Row) -> Iterator[tuple[tuple[int, int], ...]]:
    return combinations(enumerate(row), 2)


def possible_cells() -> dict[_Row, Cell]:
    """Cells that can be measured here, each once."""
    found: dict[Cell, _Row] = {}
    for row in product(*_numbers()):
        axes = dict(_CONSTANT)
        for values, number in zip(_AXES, row, strict=True):
            axes |= values[number]
        planned = resolve_cell(axes)
        cell = planned.cell
        loops = cell.architecture == "mamba" and cell.kernels == "stock"
        if planned.unsupported is None and not (loops and cell.seq_len > _LOOP_TOKENS):
            found.setdefault(cell, row)  # an axis without effect on it has its first value
    return {row: cell for cell, row in found.items()}


def checkpoint_cells(root: Path) -> list[Cell]:
    """The same for checkpoints, which are saved below ``root``: every pair of values of two axes.

    Among them every family and layout of files: tied and untied, in one file and in shards, in bf16
    and in fp32; biases of attention and MLP, and grouped keys, are kinds of `CONFIGS`.
    """
    saved = [list(CONFIGS), [False, True], [None, "30KB"], [torch.float32, torch.bfloat16]]
    asked = [_AXES[0], *_AXES[2:]]  # the family is the checkpoint's
    folders: dict[tuple[object, ...], Path] = {}
    cells: dict[Cell, None] = {}

    def cell_of(row: Sequence[int]) -> Cell | None:
        """The cell of these values; ``None`` if it cannot be measured here."""
        key = tuple(values[at] for values, at in zip(saved, row, strict=False))
        if key not in folders:
            kind, tied, shard, dtype = key
            folders[key] = root / "-".join(map(str, row[: len(saved)]))
            save(folders[key], kind, dtype=dtype, shard=shard, tie_word_embeddings=tied)
        axes = {**_CONSTANT, "model": str(folders[key])}
        del axes["size"]
        for values, at in zip(asked, row[len(saved) :], strict=True):
            axes |= values[at]
        planned = resolve_cell(axes)
        cell = planned.cell
        loops = cell.architecture == "mamba" and cell.kernels == "stock"
        possible = planned.unsupported is None and not (loops and cell.seq_len > _LOOP_TOKENS)
        return cell if possible else None

    numbers = [list(range(len(values))) for values in (*saved, *asked)]

    def possible(start: list[int]) -> bool:
        return len(start) < len(numbers) or cell_of(start) is not None

    for row in AllPairs(numbers, filter_func=possible):
        cell = cell_of(row)
        if cell is not None:
            cells[cell] = None
    return list(cells)
