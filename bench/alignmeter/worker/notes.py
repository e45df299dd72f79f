"""What a record says of a checkpoint beside its figures."""

__all__ = ["notes_of"]

from collections.abc import Collection

from alignmeter.architectures.checkpoint import (
    RANDOM,
    beyond_positions,
    find_checkpoint,
    without_dropout,
    without_weights,
)
from alignmeter.cells.cell import Cell
from alignmeter.records.reasons import Code, Reason


def notes_of(
    cell: Cell, zero_weights: Collection[str], huge_weights: Collection[str] = ()
) -> list[Reason]:
    """Notes on the sequences and weights of ``cell``; none for random weights.

    They make no metric invalid. A step on positions beyond the trained ones takes the time and the
    memory of any other, and agrees with its reference, which runs on the same ones: only what the
    model says there is worth nothing.
    """
    if cell.model == RANDOM:
        return []
    checkpoint = find_checkpoint(cell.model)
    said = {
        Code.BEYOND_TRAINED_POSITIONS: beyond_positions(
            cell.model, checkpoint.shape(), cell.seq_len
        ),
        Code.DROPOUT_OFF: without_dropout(cell.model, checkpoint.dropout),
        Code.WEIGHTS_DRAWN: without_weights(cell.model, checkpoint),
        Code.WEIGHTS_ZERO: _of(zero_weights, "all zeros", cell.model),
        Code.WEIGHTS_HUGE: _of(huge_weights, "beyond 65504", cell.model),
    }
    return [Reason(code=code, text=text) for code, text in said.items() if text is not None]


def _of(names: Collection[str], what: str, model: str) -> str | None:
    if not names:
        return None
    more = len(names) - 1
    return f"{min(names)}{f' and {more} more' if more else ''} {what} in {model}"
