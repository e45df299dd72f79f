"""Preference files of this process: each read and checked once, and stored for all that follows."""

__all__ = [
    "Dataset",
    "data_note",
    "dataset_of",
    "open_dataset",
    "shared_folder",
]

import contextlib
import tempfile
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

from alignmeter.batches.drawn import is_drawn
from alignmeter.batches.preferences import KINDS, PairReader, Preferences
from alignmeter.batches.shards import PACKAGED, shards_of
from alignmeter.batches.texts import MappedTexts, Texts, write_texts
from alignmeter.cells.cell import Cell, digest
from alignmeter.cells.columns import AUTO, DROP, REFUSE
from alignmeter.errors import InputError
from alignmeter.text import counted, shown_path

_Stamp = tuple[tuple[str, int, int], ...]
_BY_DIGEST: dict[str, "Dataset"] = {}
_NUMBERS = count()


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """One file, checked. ``path``: the Arrow file of its pairs; ``None`` for the packaged set.

    ``digest``: of the files' bytes, and of ``columns`` where these were named.
    """

    data: str
    texts: Texts
    found: Preferences
    digest: str
    path: Path | None

    @property
    def counts(self) -> dict[str, int]:
        """``rows``, those that are no pair by kind, and those of which the prompt was split, as
        records have them.
        """
        bad = {f"dropped_{kind}": number for kind, number in self.found.bad.items()}
        split = {"split_prompt_repeated": self.found.repeated} if self.found.repeated else {}
        return {"rows": self.found.rows, **bad, **split}

    def note(self) -> str | None:
        """One sentence on the rows that are no pair, the commonest case first, if there are any."""
        kind = self.found.commonest
        if kind is None:
            return None
        bad, rows = self.found.bad, counted(self.found.rows, "row")
        out = sum(bad.values())
        said = f"no pair in {rows}" if not self.found.pairs else f"{out} of {rows} left out"
        many = f" in {bad[kind]} of them" if len(bad) > 1 else ""
        place = _short(self.found.first_bad[kind], self.data)
        return f"{shown_path(self.data)}: {said}: {KINDS[kind]}{many}, first in {place}"


def _short(where: str, data: str) -> str:
    """The place without the name of the file, where that was said."""
    return where.removeprefix(f"{shown_path(data)}, ").removeprefix(f"{data.rstrip('/')}/")


@cache
def shared_folder() -> Path:
    """A folder of this process for what its workers read too; it goes when the process ends.

    Raises `InputError` if there can be none.
    """
    try:
        return Path(_temporary().name)
    except OSError as error:
        raise InputError(
            f"no temporary folder: {error}; TMPDIR should name a folder one can write"
        ) from error


@cache
def _temporary() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="alignmeter-data-", ignore_cleanup_errors=True)


def open_dataset(data: str, columns: str = AUTO, bad_rows: str = DROP) -> Dataset:
    """The checked file; read at the first call, and again if it changed since.

    Raises `InputError` for a malformed file, and with ``bad_rows`` refused for a row that is no
    pair.
    """
    found = _read(data, columns, _stamp(data))
    if bad_rows == REFUSE and found.found.commonest is not None:
        kind, where = next(iter(found.found.first_bad.items()))
        raise InputError(f"{where}: {KINDS[kind]}; correct it, or drop such rows: --bad-rows drop")
    return found


def dataset_of(cell: Cell) -> Dataset:
    """The data of a cell as they were when it was resolved, else as they are now.

    Raises as `open_dataset` does.
    """
    known = _BY_DIGEST.get(cell.data_digest)
    return open_dataset(cell.data, cell.columns) if known is None else known


def data_note(cell: Cell) -> str | None:
    """One sentence on the rows of the cell's file that are left out, if it has such rows.

    Where no other is left, that is the reason why the cell cannot be measured.
    """
    if is_drawn(cell.data):
        return None
    dataset = dataset_of(cell)
    return dataset.note() if dataset.found.pairs else None


def _stamp(data: str) -> _Stamp:
    if data == PACKAGED:
        return ()
    stamps = []
    for name, file in shards_of(data):
        path = str(file)
        try:
            state = Path(path).stat()
        except OSError as error:
            raise InputError(f"{name}: cannot be read: {error.strerror or error}") from error
        stamps.append((path, state.st_mtime_ns, state.st_size))
    return tuple(stamps)


@cache
def _read(data: str, columns: str, stamp: _Stamp) -> Dataset:  # noqa: ARG001 - part of the key
    reader = PairReader(data=data, columns=columns)
    texts: Texts
    if data == PACKAGED:
        path, texts = None, list(reader)
    else:
        path = shared_folder() / f"pairs-{next(_NUMBERS)}.arrow"
        with contextlib.ExitStack() as undo:
            undo.callback(path.unlink, missing_ok=True)
            write_texts(reader, path)
            undo.pop_all()
        texts = MappedTexts(path)
    found = reader.found()
    identity = found.digest if columns == AUTO else digest([found.digest, columns])
    dataset = Dataset(data=data, texts=texts, found=found, digest=identity, path=path)
    _BY_DIGEST[identity] = dataset
    return dataset
