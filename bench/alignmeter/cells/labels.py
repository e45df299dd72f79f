"""What a reader needs to know a cell by.

A record may name a method that this version does not know: it has no layout here.
"""

__all__ = [
    "UNUSED", "axis_text", "cell_text", "follows", "layout_text", "layouts", "parts", "spelled",
    "varied",
]  # fmt: skip

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import product
from pathlib import Path

from alignmeter.cells.axes import AXES, RANDOM, path_of
from alignmeter.cells.cell import Cell
from alignmeter.cells.defaults import default_of
from alignmeter.registry import METHODS, OPTIMIZERS, PEFT_MODES, VARIANTS, unused_axes

UNUSED = "-"
"""What `axis_text` says of an axis that changes nothing in a cell."""


def layout_text(cell: Cell) -> str:
    """What decides what its method's figures are figures of: ``shared, joint``, ``kl 0``.

    Empty for a method without such, and for one that this version does not know.
    """
    row = METHODS.get(cell.method)
    return ", ".join(_named(name, getattr(cell, name)) for name in row.layout) if row else ""


def _named(axis: str, value: object) -> str:
    """``shared``, ``kl k3``: as ids say it, in words."""
    path = path_of(axis, str(value))
    shown = str(value) if path is None else Path(path).name + str(value)[len(path) :]
    return AXES[axis].slug.replace("-", " ").format(shown)


def spelled(axis: str, value: str) -> str:
    """Methods and PEFT modes as people write them: ``DPO``, ``SimPO``, ``LoRA``; else as it is."""
    if axis == "method":
        method = METHODS.get(value)
        return (method.title if method is not None else "") or value.upper()
    mode = PEFT_MODES.get(value) if axis == "peft" else None
    return (mode.title if mode is not None else "") or value


def layouts(method: str) -> list[str]:
    """Every `layout_text` that cells of ``method`` can have."""
    row = METHODS.get(method)
    choices = [[_named(name, v) for v in AXES[name].choices] for name in row.layout] if row else []
    return [", ".join(values) for values in product(*choices)] if choices else []


def cell_text(cell: Cell, *, without: Sequence[str] = ()) -> str:
    """In words: ``llama, tiny, LoRA, shared, joint, T 64, B 2``; all but the data."""
    out = {*without, "data"}
    found = parts(cell).items()
    return ", ".join(spelled(part, text) for part, text in found if text and part not in out)


def parts(cell: Cell) -> dict[str, str]:
    """What tells the cell from others, by part; empty where it is as in a cell that names nothing.

    ``method``, ``architecture``, ``size``, ``peft``, ``seq_len`` and ``batch`` are never empty.
    """
    return {
        "method": cell.method,
        "architecture": cell.architecture,
        "size": cell.size if cell.model == RANDOM else _named("model", cell.model),
        "peft": cell.peft,
        "adapters": _adapters(cell),
        "layout": layout_text(cell),
        "ref": "" if follows(cell, "ref") else _named("ref", cell.ref),
        "teacher": _named("teacher", cell.teacher) if _off_default(cell, "teacher") else "",
        "variant": ", ".join(filter(None, (_off_default(cell, name) for name in VARIANTS))),
        "optimizer": _off_default(cell, "optimizer") or _off_default(cell, "optimizer_impl"),
        "group": f"G {cell.group}" if _off_default(cell, "group") else "",
        "epochs": _passes(cell),
        "kernels": f"{cell.kernels} kernels" if _off_default(cell, "kernels") else "",
        "head": _named("loss_head", cell.loss_head) if _off_default(cell, "loss_head") else "",
        "rollout": _off_default(cell, "rollout"),
        "precision": "" if follows(cell, "precision") else cell.precision,
        "checkpointing": "checkpointed" if cell.checkpointing == "on" else "",
        "deterministic": "deterministic" if cell.deterministic == "on" else "",
        "seq_len": f"T {cell.seq_len}",
        "prompt_len": "" if follows(cell, "prompt_len") else f"P {cell.prompt_len}",
        "batch": f"{cell.rows} rows" if cell.rows else f"B {cell.batch}",
        "microbatches": "" if cell.microbatches == 1 else f"in {cell.microbatches} passes",
        "batching": _off_default(cell, "batching"),
        "data": _named("data", cell.data) if _off_default(cell, "data") else "",
        "world_size": "" if cell.world_size == 1 else f"{cell.world_size} devices",
        "parallel": _off_default(cell, "parallel"),
        "rollout_weights": _off_default(cell, "rollout_weights"),
        "lane": _off_default(cell, "lane"),
    }


def _off_default(cell: Cell, axis: str) -> str:
    value = getattr(cell, axis)
    return "" if value == AXES[axis].default else str(value)


def _adapters(cell: Cell) -> str:
    """``rank 8, on qv, drop 0.05``; nothing of a cell without adapters, which has the defaults."""
    names = ("lora_targets", "lora_dropout", "embeddings")
    rank = [f"rank {cell.lora_rank}"] if _off_default(cell, "lora_rank") else []
    off = (name for name in names if _off_default(cell, name))
    return ", ".join([*rank, *(_named(name, getattr(cell, name)) for name in off)])


def _passes(cell: Cell) -> str:
    once = (cell.ppo_epochs, cell.ppo_minibatches) == (1, 1)
    return "" if once else f"{cell.ppo_epochs} x {cell.ppo_minibatches} passes"


def axis_text(cell: Cell, name: str) -> str:
    """``ppo``, ``checkpointing on``, ``batch 4``; a dash for what changes nothing in the cell."""
    value = getattr(cell, name)
    known = cell.method in METHODS and cell.peft in PEFT_MODES and cell.optimizer in OPTIMIZERS
    if known and name in unused_axes(partial(getattr, cell)):
        return UNUSED
    return f"{name} {value}" if value in ("on", "off") or isinstance(value, int) else str(value)


def follows(cell: Cell, name: str) -> bool:
    """Whether the axis has no value of its own: it depends on others, and has what they give."""
    axes = {axis: getattr(cell, axis) for axis in AXES}
    return AXES[name].default is None and default_of(name, axes) == axes[name]


def varied(cells: Iterable[Cell], names: Iterable[str] = AXES) -> list[str]:
    """Those of ``names`` in which the cells differ."""
    every = list(cells)
    return [name for name in names if len({getattr(cell, name) for cell in every}) > 1]
