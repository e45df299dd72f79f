"""Few cells that cover much: every pair of axis values, every method with every model and mode."""

__all__ = ["checkpoint_cells", "covering_cells", "possible_cells", "saved_kinds"]

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain, combinations, cycle, product
from pathlib import Path

import torch
from allpairspy import AllPairs
from saved_checkpoints import CONFIGS, save

from alignmeter.architectures import open_architecture
from alignmeter.cells.axes import AXES, AxisValue
from alignmeter.cells.cell import Cell
from alignmeter.registry import METHODS, users_of
from alignmeter.session.resolve import resolve_cell

_LOOP_TOKENS = 32
"""Longest sequence of a stock Mamba-1, whose scan is a Python loop over the tokens."""
_CONSTANT: Mapping[str, AxisValue] = {"accelerator": "cpu", "data": "synthetic", "size": "tiny"}
_TURNS: Mapping[str, Sequence[AxisValue]] = {
    "rollout": ("eager", "static"),  # a compiled decoding step is planned as a static one's
    "dpo_loss": AXES["dpo_loss"].choices,
    "grpo_variant": AXES["grpo_variant"].choices,
    "reward": [name for name in AXES["reward"].choices if name != "model"],
    "microbatches": (1, 2),
    "rows": (0, 1, 3),
    "embeddings": AXES["embeddings"].choices,
    "loss_head": AXES["loss_head"].choices,
    "lora_targets": AXES["lora_targets"].choices,
    "lora_dropout": ("0", "0.05"),
    "optimizer": AXES["optimizer"].choices,
    "optimizer_impl": AXES["optimizer_impl"].choices,
}
"""Axes that say how something is computed, more than what is held: the cells take their values in
turns, each method, PEFT mode or optimizer that has the axis for itself. Functions as rewards take
turns where a cell has one; a cell that cannot have the value whose turn it is stays as it is.
"""
_Row = tuple[int, ...]
"""Which value a cell has on each of `_AXES`."""


def _layouts() -> Iterator[dict[str, AxisValue]]:
    """Every method in each layout that its row in the registry tells apart, one function as the
    reward for all of them.
    """
    for method, row in METHODS.items():
        choices = (
            ("model", _TURNS[axis][0]) if axis == "reward" else AXES[axis].choices
            for axis in row.layout
        )
        for values in product(*choices):
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
"""Layout, architecture and PEFT mode come first: every combination of a method, an architecture
and a mode is covered, and pairs with the method's layouts.
"""


@cache
def covering_cells() -> list[Cell]:
    """Tiny cells on the CPU, the same ones in the same order every time.

    Among them are every pair of values of two axes that a possible cell has (methods and their
    layouts count as one axis, sequence length, batch and batching as another), every method with
    every architecture and PEFT mode, and of each method every value of the axes of `_TURNS`.
    """
    cells = possible_cells()
    starts = {row[:length] for row in cells for length in range(1, len(row) + 1)}
    chosen = _one_of_each_model(starts)
    for pair in dict.fromkeys(chain(*map(_pairs, cells))):
        if not any(pair in _pairs(row) for row in chosen):
            fixed = dict(pair)
            numbers = [[fixed[i]] if i in fixed else every for i, every in enumerate(_numbers())]
            chosen.append(next(_rows(numbers, starts.__contains__)))
    ordered = sorted((cells[row] for row in chosen), key=lambda cell: cell.id)
    return list(dict.fromkeys(_in_turns(ordered)))


def _in_turns(cells: Sequence[Cell]) -> Iterator[Cell]:
    turns = {
        (user, axis): deque(values)
        for axis, values in _TURNS.items()
        for user in users_of(axis) or METHODS
    }
    for cell in cells:
        axes, wanted, asked = cell.axes(), {}, {}
        for axis in _TURNS:
            if axis == "rows" and axes["batch"] != AXES["batch"].default:
                continue  # it would take the place of a batch that the cell stands for
            kinds = [str((axes | wanted)[kind]) for kind in ("method", "peft", "optimizer")]
            user = next((kind for kind in kinds if (kind, axis) in turns), None)
            if user is not None and axes[axis] != "model":
                asked[axis] = turns[user, axis]
                wanted[axis] = asked[axis][0]
        taken = _taken(axes, wanted)
        for axis, values in asked.items():
            if getattr(taken, axis) == wanted[axis]:
                values.rotate(-1)
            else:  # it is tried again after the next one
                values[0], values[1] = values[1], values[0]
        yield taken


def _taken(axes: Mapping[str, AxisValue], wanted: Mapping[str, AxisValue]) -> Cell:
    """The cell with all of the ``wanted`` values, or with those that it can have."""
    whole = resolve_cell({**axes, **wanted})
    if whole.unsupported is None:
        return whole.cell
    cell = resolve_cell(axes).cell
    for axis, value in wanted.items():
        changed = resolve_cell(cell.axes() | {axis: value})
        cell = cell if changed.unsupported else changed.cell
    return cell


def _one_of_each_model(starts: set[_Row]) -> list[_Row]:
    """As few rows as there are methods, architectures and PEFT modes, with nearly all pairs.

    The library ends a pass where the next row would have no pair that is new to it. The first pass
    takes about half of the models, the others those that are left.
    """
    chosen: list[_Row] = []
    methods = [values["method"] for values in _AXES[0]]

    def model_of(row: _Row) -> tuple[AxisValue | int, ...]:
        return methods[row[0]], *row[1:_MODEL]

    models = {model_of(start) for start in starts if len(start) == _MODEL}

    def fresh(start: _Row) -> bool:
        return start in starts and (len(start) < _MODEL or model_of(start) in models)

    while models:
        for row in _rows(_numbers(), fresh):
            models.discard(model_of(row))
            chosen.append(row)
    return chosen


def _rows(numbers: list[list[int]], possible: Callable[[_Row], bool]) -> Iterator[_Row]:
    """Rows that pair by pair are new; ``possible`` says whether one can begin like this."""
    return map(tuple, AllPairs(numbers, filter_func=lambda start: possible(tuple(start))))


def _numbers() -> list[list[int]]:
    return [list(range(len(values))) for values in _AXES]


def _pairs(row: _Row) -> Iterator[tuple[tuple[int, int], ...]]:
    return combinations(enumerate(row), 2)


@cache
def possible_cells() -> dict[_Row, Cell]:
    """Cells that can be measured here, each once."""
    found: dict[Cell, _Row] = {}
    idle = {i for i, values in enumerate(_AXES[0]) if values["method"] not in users_of("ref")}
    for row in product(*_numbers()):
        if row[0] in idle and row[-1]:
            continue  # the same cell as one before
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
