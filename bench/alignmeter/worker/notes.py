"""What a record says of a checkpoint beside its figures."""

__all__ = ["notes_of"]

from collections.abc import Collection

from alignmeter.architectures.checkpoint import RANDOM, beyond_positions, find_checkpoint
from alignmeter.cells.cell import Cell
from alignmeter.records.reasons import Code, Reason


def notes_of(cell: Cell, zero_weights: Collection[str]) -> list[Reason]:
    """Notes on the sequences and weights of ``cell``; none for random weights.

    They make no metric invalid. A step on positions beyond the trained ones takes the time and the
    memory of any other, and agrees with its reference, which runs on the same ones: only what the
    model says there is worth nothing.
    """
    if cell.model == RANDOM:
        return []
    notes = []
    text = beyond_positions(cell.model, find_checkpoint(cell.model).shape(), cell.seq_len)
    if text is not None:
        notes.append(Reason(code=Code.BEYOND_TRAINED_POSITIONS, text=text))
    if zero_weights:
        first, more = min(zero_weights), len(zero_weights) - 1
        text = f"{first}{f' and {more} more' if more else ''} all zeros in {cell.model}"
        notes.append(Reason(code=Code.WEIGHTS_ZERO, text=text))
    return notes
