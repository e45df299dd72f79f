"""Few cells that cover much: every pair of axis values, and every method with every model."""

__all__ = ["checkpoint_cells", "covering_cells", "possible_cells", "saved_kinds"]

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, combinations, cycle, product
from pathlib import Path

import torch
from allpairspy import AllPairs
from saved_checkpoints import CONFIGS, save

from alignmeter.architectures import open_architecture
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
    [
        *({"seq_len": t, "batch": b} for t, b in ((16, 2), (32, 3), (64, 1), (160, 1))),
        *(
            {"seq_len": t, "batch": b, "batching": batching, "data": "lengths:hh"}
            for t, b, batching in ((32, 2, "padded"), (160, 1, "bucketed"), (96, 3, "packed"))
        ),
    ],
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
    layouts count as one axis, sequence length, batch and batching as another), and every method or
    layout with every architecture and PEFT mode.
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
    """`covering_cells` with checkpoints in place of random weights; they are saved below ``root``.

    Each architecture's cells take its kinds of `CONFIGS` in turns: biases of attention and MLP,
    grouped keys, tied and untied, in one file and in shards, in fp32 and in bf16; of these every
    pair.
    """
    folders: dict[str, Iterator[Path]] = {}
    cells = []
    for cell in covering_cells():
        name = cell.architecture
        if name not in folders:
            folders[name] = cycle(saved_kinds(root / name, name))
        axes = {axis: value for axis, value in cell.axes().items() if axis != "size"}
        cells.append(resolve_cell({**axes, "model": str(next(folders[name]))}).cell)
    return cells


def saved_kinds(root: Path, architecture: str) -> list[Path]:
    """Folders of small checkpoints that count as ``architecture``, saved below ``root``."""
    families = open_architecture(architecture).checkpoints
    kinds = [kind for kind, make in CONFIGS.items() if make().model_type in families]
    files = [kinds, [False, True], [None, "30KB"], [torch.float32, torch.bfloat16]]
    return [
        save(root / f"{number}-{kind}", kind, tie_word_embeddings=tied, shard=shard, dtype=dtype)
        for number, (kind, tied, shard, dtype) in enumerate(AllPairs(files))
    ]
