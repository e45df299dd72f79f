"""FLOPs and bytes of a cell's step: the passes of its method through its models."""

__all__ = ["network_of", "shape_of", "step_demand", "step_flops", "unbounded", "uncounted"]

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from msgspec import structs

from alignmeter.architectures import architecture_of, open_architecture
from alignmeter.architectures.checkpoint import RANDOM, find_checkpoint
from alignmeter.architectures.precision import precision_of
from alignmeter.cells.cell import Cell, as_teacher
from alignmeter.flops import Network, StepFlops, Storage, Tally
from alignmeter.methods import open_method
from alignmeter.peft import open_peft
from alignmeter.records.demand import Demand
from alignmeter.registry import LOSS_HEADS, METHODS, ROLLOUTS, row_of
from alignmeter.training.optimizers import open_optimizer


def shape_of(cell: Cell) -> Mapping[str, Any]:
    """Keys of the transformers config, those that a checkpoint leaves out at their defaults."""
    if cell.model != RANDOM:
        return _checkpoint_shape(cell.model)
    return open_architecture(cell.architecture).shape(cell.size)


@cache
def _checkpoint_shape(model: str) -> Mapping[str, Any]:
    return find_checkpoint(model).shape()


def uncounted(cell: Cell) -> str | None:
    """Why nobody has counted the FLOPs of this cell, or ``None``."""
    if cell.batching != "fixed":
        return f"the FLOPs of rows of their own lengths (batching {cell.batching}) are not counted"
    architecture = architecture_of(cell)
    for axis, counted in (
        ("method", open_method(cell.method).passes),
        ("architecture", architecture.blocks),
        ("peft", open_peft(cell.peft).trained(architecture, cell)),
    ):
        if counted is None:
            return f"the FLOPs of {axis} {getattr(cell, axis)} are not counted"
    for one in (cell, as_teacher(cell)):
        window = shape_of(one).get("sliding_window")
        if window is not None and window < cell.seq_len:
            return f"attention within a window of {window} tokens is not counted"
    return None


def network_of(cell: Cell) -> Network:
    """The models of a cell, but for a teacher of another size: all have one shape, and those that
    train do so in one way.

    Raises `ValueError` if `uncounted` gives a reason.
    """
    shape, architecture = shape_of(cell), architecture_of(cell)
    trained = open_peft(cell.peft).trained(architecture, cell)
    if architecture.blocks is None or trained is None:
        raise ValueError(uncounted(cell))
    return Network(
        blocks=architecture.blocks(shape),
        width=shape["hidden_size"],
        vocab=shape["vocab_size"],
        trained=trained,
        tied=bool(shape.get("tie_word_embeddings", True)),
    )


def unbounded(cell: Cell) -> str | None:
    """Why a step of this cell has no least time, or ``None``."""
    if row_of(METHODS, cell.method).rollouts and row_of(ROLLOUTS, cell.rollout).served:
        return f"what rollout = {cell.rollout} computes and moves is its own"
    return uncounted(cell)


def step_flops(cell: Cell) -> StepFlops:
    """FLOPs of one step of ``cell``, from its axes alone.

    Raises `ValueError` if `uncounted` gives a reason.
    """
    return _tally(cell).result()


def step_demand(
    cell: Cell, sent: Mapping[str, Mapping[str, int]] | None = None
) -> dict[str, Demand]:
    """Phase -> what one step of ``cell`` asks of a device at least, from its axes alone; of several
    devices of each.

    ``sent``: phase -> kind of collective -> bytes, which the axes do not tell. Raises `ValueError`
    if `unbounded` gives a reason.
    """
    reason = unbounded(cell)
    if reason is not None:
        raise ValueError(reason)
    found = _tally(_of_device(cell)).demand()
    step = found.get("optimizer")
    if step is not None:
        moved = step.moved_bytes // cell.shards
        found["optimizer"] = structs.replace(step, moved_bytes=moved)
    return {
        phase: structs.replace(asked, sent_bytes=dict((sent or {}).get(phase, {})))
        for phase, asked in found.items()
    }


def _of_device(cell: Cell) -> Cell:
    """The rows of one of its devices, which reads whole weights for them all the same."""
    size = cell.world_size
    rows, batch = cell.rows // size, max(1, cell.batch // size)
    return structs.replace(cell, world_size=1, rows=rows, batch=batch)


def _tally(cell: Cell) -> Tally:
    passes = open_method(cell.method).passes
    if passes is None:
        raise ValueError(uncounted(cell))
    tally = Tally(
        network_of(cell),
        storage=_storage(cell),
        checkpointing=cell.checkpointing == "on",
        microbatches=cell.microbatches,
        teacher=network_of(as_teacher(cell)),
        early_head=row_of(LOSS_HEADS, cell.loss_head).means,
    )
    passes(cell, tally)
    return tally


def _storage(cell: Cell) -> Storage:
    precision, peft = precision_of(cell.precision), open_peft(cell.peft)
    wide = peft.packs and cell.embeddings == "float32"
    return Storage(
        base=torch.float32.itemsize if wide else precision.base.itemsize,
        adapters=precision.adapters.itemsize,
        compute=precision.compute.itemsize,
        cast=precision.autocast is not None,
        packed=peft.packed_bytes if peft.packs else None,
        loose=architecture_of(cell).nf4_skip,
        state=open_optimizer(cell.optimizer).state_bytes,
    )
