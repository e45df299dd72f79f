"""The pairs of a file as an Arrow file that every process maps: who reads a row pays for that row.

Three columns of text, `PART` rows to a batch of the file.
"""

__all__ = ["MappedTexts", "Texts", "write_texts"]

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from alignmeter.batches.preferences import Pair
from alignmeter.errors import InputError

if TYPE_CHECKING:
    import pyarrow

PART = 1024
"""Rows of a batch: few enough to be written while the next ones are read."""
_FIELDS = ("prompt", "chosen", "rejected")


class Texts(Protocol):
    """Pairs by number."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, row: int, /) -> Pair:
        """One of them."""
        ...


def write_texts(pairs: Iterable[Pair], path: Path) -> None:
    """Store all pairs in one Arrow file. Raises `InputError` if it cannot be written."""
    from pyarrow import OSFile, RecordBatch, ipc, large_string, schema

    # `string` has offsets of 32 bits: 1024 long answers may have more than 2 GiB.
    text = schema([(name, large_string()) for name in _FIELDS])
    try:
        with OSFile(str(path), "wb") as file, ipc.new_file(file, text) as writer:
            left = iter(pairs)
            while part := list(islice(left, PART)):
                columns = {name: [getattr(pair, name) for pair in part] for name in _FIELDS}
                writer.write_batch(RecordBatch.from_pydict(columns, schema=text))
    except OSError as error:
        raise InputError(
            f"{path}: the pairs cannot be stored: {error}; TMPDIR should name a folder with room"
        ) from error


class MappedTexts:
    """An Arrow file of pairs, mapped: only the pages of rows that are asked for are read."""

    def __init__(self, path: Path) -> None:
        from pyarrow import ipc, memory_map

        with memory_map(str(path)) as file:
            self.table: pyarrow.Table = ipc.open_file(file).read_all()

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __getitem__(self, row: int) -> Pair:
        (found,) = self.table.slice(row, 1).to_pylist()
        return Pair(**found)
