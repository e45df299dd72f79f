"""What in a cell's axes contradicts what: reasons that hold on every machine."""

__all__ = ["contradictions"]

from collections.abc import Iterator

from alignmeter.architectures.checkpoint import RANDOM, find_checkpoint
from alignmeter.architectures.precision import without_frozen_base
from alignmeter.batches import tokenizer_obstacle
from alignmeter.batches.parts import units
from alignmeter.cells.axes import path_of
from alignmeter.cells.cell import Cell
from alignmeter.methods import open_method
from alignmeter.peft import open_peft
from alignmeter.registry import ARCHITECTURES, LOSS_HEADS, METHODS, PEFT_MODES, ROLLOUTS
from alignmeter.session.own_models import unknown_layers
from alignmeter.text import counted
from alignmeter.training.engines import open_engine
from alignmeter.training.optimizers import open_optimizer


def contradictions(cell: Cell) -> Iterator[str]:
    """Why the cell cannot be measured anywhere, in words."""
    if cell.prompt_len >= cell.seq_len:
        lengths = f"prompt_len {cell.prompt_len}", f"seq_len {cell.seq_len}"
        yield " leaves no room for a response in ".join(lengths)
    if not PEFT_MODES[cell.peft].adapters:
        if cell.ref == "adapter-off":
            yield f"{cell.peft} has no adapter to switch off for the ref_model; use ref = resident"
        unfit = without_frozen_base(cell.precision, cell.peft)
        if unfit is not None:
            yield unfit
    yield from _unshared(cell)
    yield from _indivisible(cell)
    yield from _unpackable(cell)
    yield from _misfits(cell)
    if cell.model != RANDOM:
        family = find_checkpoint(cell.model).architecture
        if cell.architecture != family:
            yield f"{cell.model} is a {family}, not a {cell.architecture}"
        else:
            yield from unknown_layers(cell)
        yield from _unwritten(cell)
    yield from open_method(cell.method).contradictions(cell)


def _unwritten(cell: Cell) -> Iterator[str]:
    """Why there are no ids of the cell's texts, or no texts of its ids, where it needs them."""
    judged = path_of("reward", cell.reward) is not None
    if cell.data == "synthetic" and not judged:
        return
    obstacle = tokenizer_obstacle(cell)
    if obstacle is not None and cell.data == "synthetic":
        obstacle = f"a reward function is given texts, and {obstacle.partition(';')[0]}"
        obstacle += "; use reward model"
    if obstacle is not None:
        yield obstacle


def _indivisible(cell: Cell) -> Iterator[str]:
    rows = open_method(cell.method).rows
    most = units(cell.step_rows, rows) // cell.world_size
    if cell.microbatches > most:
        whose = "a step" if cell.world_size == 1 else "each device"
        yield (
            f"{cell.microbatches} microbatches want more than the {most} "
            f"{'pairs' if rows == 'pairs' else 'rows'} of {whose}; use {most} or fewer"
        )


def _unshared(cell: Cell) -> Iterator[str]:
    """Why several devices cannot take the cell's step together."""
    size = cell.world_size
    if size == 1:
        return
    if cell.parallel == "none":
        yield f"{size} devices share no step with parallel = none; use ddp or fsdp2"
    rows = open_method(cell.method).rows
    paired = rows in ("pairs", "unpaired")
    count = units(cell.step_rows, "pairs" if paired else rows)
    if count % size:
        what, axis = counted(count, "pair" if paired else "row"), "rows" if cell.rows else "batch"
        yield (
            f"{what} of a step {'is' if count == 1 else 'are'} no whole number for each of {size} "
            f"devices; use a multiple of {size} as {axis}"
        )
    engine = ROLLOUTS[cell.rollout]
    if METHODS[cell.method].rollouts and (engine.compiled or engine.served):
        yield (
            f"rollout {cell.rollout} samples with the weights of one device, not of {size}; "
            "use eager or static"
        )
    if not open_optimizer(cell.optimizer).shards:
        yield f"{cell.optimizer} steps whole weights, not shares of them; use adamw"


def _unpackable(cell: Cell) -> Iterator[str]:
    """Why rows of the cell cannot stand one after the other in one sequence."""
    if cell.batching != "packed":
        return
    if cell.architecture not in ARCHITECTURES:
        yield f"packed rows are tried with llama only, not {cell.architecture}; use bucketed"
    elif not ARCHITECTURES[cell.architecture].packs:
        yield (
            f"a packed row of {cell.architecture} would carry one answer's state into the next "
            "(transformers ignores seq_idx without fused kernels); use bucketed or padded"
        )
    shape = {} if cell.model == RANDOM else find_checkpoint(cell.model).shape()
    window = shape.get("sliding_window")
    if window is not None and window < cell.seq_len:
        yield (
            f"packed rows attend to all of their tokens, {cell.model} within a window of {window}; "
            "use bucketed or padded"
        )


def _misfits(cell: Cell) -> Iterator[str]:
    """Of its PEFT mode, and of what samples its responses."""
    found = [open_peft(cell.peft).misfit(cell)]
    if LOSS_HEADS[cell.loss_head].means and not METHODS[cell.method].mean_loss:
        found.append(
            f"loss_head {cell.loss_head} gives a mean loss and no log-probs, which "
            f"{cell.method} needs; use own or logits"
        )
    if METHODS[cell.method].rollouts:
        engine = open_engine(cell.rollout)
        found.append(engine.misfit(cell))
        if cell.batching != "fixed" and not engine.ragged:
            found.append(
                f"rollout {engine.name} takes prompts of one length; use rollout eager, or "
                "batching fixed"
            )
    yield from (misfit for misfit in found if misfit is not None)
