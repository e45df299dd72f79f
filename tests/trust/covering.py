"""Few cells that cover much: every pair of axis values, and every method with every model."""

__all__ = ["covering_cells"]

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain, combinations, product

from alignmeter.cells.axes import AxisValue
from alignmeter.cells.cell import Cell
from alignmeter.session.resolve import resolve_cell

_SHAPES = ((16, 2), (32, 3), (64, 1), (160, 1))
"""seq_len and batch."""
_LOOP_TOKENS = 32
"""Longest sequence of a stock Mamba-1, whose scan is a Python loop over the tokens."""
_LAYOUTS = (
    {"method": "sft"},
    {"method": "rm"},
    {"method": "dpo"},
    *(
        {"method": "ppo", "ppo_topology": topology, "ppo_backward": backward}
        for topology in ("separate", "shared")
        for backward in ("sequential", "joint")
    ),
)
_CHOICES: Mapping[str, tuple[AxisValue, ...]] = {
    "architecture": ("llama", "mamba", "mamba2"),
    "peft": ("full", "lora", "qlora"),
    "kernels": ("stock", "custom"),
    "precision": ("fp32", "bf16-mixed", "bf16-base", "bf16"),
    "checkpointing": ("off", "on"),
    "ref": ("resident", "adapter-off", "precomputed"),
}
_CONSTANT: Mapping[str, AxisValue] = {"accelerator": "cpu", "data": "synthetic", "size": "tiny"}
_Feature = tuple[tuple[str, object], ...]


def covering_cells() -> list[Cell]:
    """Tiny cells on the CPU, the same ones in the same order every time.

    Among them are every pair of values of two axes that a possible cell has (methods and PPO's
    layouts count as one axis, sequence length and batch as another), and every method or layout
    with every architecture and PEFT mode. The next cell is always one with the most that is new;
    of those, one whose values were chosen least so far.
    """
    candidates = {cell: _values(cell, *numbers) for cell, *numbers in _possible()}
    features = {cell: _features(values) for cell, values in candidates.items()}
    bits = {feature: 1 << i for i, feature in enumerate(dict.fromkeys(chain(*features.values())))}
    masks = {cell: sum(bits[feature] for feature in found) for cell, found in features.items()}
    used: Counter[tuple[str, object]] = Counter()
    missing, chosen = sum(bits.values()), []
    while missing:
        most = max((mask & missing).bit_count() for mask in masks.values())
        equal = [cell for cell, mask in masks.items() if (mask & missing).bit_count() == most]
        best = min(equal, key=lambda cell: sum(used[pair] for pair in candidates[cell].items()))
        chosen.append(best)
        missing &= ~masks[best]
        used.update(candidates[best].items())
    return sorted(chosen, key=lambda cell: cell.id)


def _possible() -> Iterator[tuple[Cell, int, int]]:
    """Cells that can be measured here, each once, with the numbers of layout and shape."""
    seen = set()
    for (number, layout), (shape, (seq_len, batch)), values in product(
        enumerate(_LAYOUTS), enumerate(_SHAPES), product(*_CHOICES.values())
    ):
        axes = {**_CONSTANT, **layout, "seq_len": seq_len, "batch": batch}
        planned = resolve_cell({**axes, **dict(zip(_CHOICES, values, strict=True))})
        cell = planned.cell
        loops = cell.architecture == "mamba" and cell.kernels == "stock"
        if planned.unsupported is not None or (loops and cell.seq_len > _LOOP_TOKENS):
            continue
        if cell.id not in seen:
            seen.add(cell.id)
            yield cell, number, shape


def _values(cell: Cell, layout: int, shape: int) -> dict[str, object]:
    """What the cell is on each of the axes that have an effect on it."""
    names = set(_CHOICES) - (set() if cell.method in ("dpo", "ppo") else {"ref"})
    return {name: getattr(cell, name) for name in sorted(names)} | {
        "layout": layout,
        "shape": shape,
    }


def _features(values: Mapping[str, object]) -> list[_Feature]:
    model = tuple((name, values[name]) for name in ("layout", "architecture", "peft"))
    return [*combinations(values.items(), 2), model]
