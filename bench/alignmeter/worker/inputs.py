"""What a worker reads from disk: whether it is still what was checked before the run."""

__all__ = ["reading_checkpoint", "shared_batches"]

import contextlib
from collections.abc import Iterator

from alignmeter.architectures.checkpoint import RANDOM, check_unchanged
from alignmeter.batches import BatchSource, SharedRows, open_batches
from alignmeter.cells.cell import Cell, as_teacher
from alignmeter.errors import InputError
from alignmeter.text import shown_path


@contextlib.contextmanager
def reading_checkpoint(cell: Cell) -> Iterator[None]:
    """Within it the cell's checkpoints are read, the student's and the teacher's.

    Raises `CellError` where their files are others than those that the cell names: before, for
    nothing is made of them then; and after, also in place of an error, which they explain.
    """
    _check_unchanged(cell)
    try:
        yield
    finally:
        _check_unchanged(cell)


def _check_unchanged(cell: Cell) -> None:
    for one in {(c.model, c.model_digest) for c in (cell, as_teacher(cell))}:
        if one[0] != RANDOM:
            check_unchanged(*one)


def shared_batches(
    cell: Cell, *, vocab_size: int, seed: int, shared: SharedRows | None
) -> BatchSource:
    """`open_batches`. Raises `InputError` where what the parent stored of the data is gone."""
    try:
        return open_batches(cell, vocab_size=vocab_size, seed=seed, shared=shared)
    except OSError as error:
        if shared is None:
            raise
        raise InputError(
            f"{shared.texts.parent}: what was read of {shown_path(cell.data)} is there no more; "
            "keep tidiers of TMPDIR away from it"
        ) from error
