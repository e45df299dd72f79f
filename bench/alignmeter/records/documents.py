"""The JSON documents below a folder, whether they are files there or rows of a store's Parquet.

A store is a folder with a `STORE_FILE`. Its parts hold documents byte by byte, each under the path
that its file had; to who reads them it is a folder like any other.
"""

__all__ = [
    "DOCUMENT",
    "ID",
    "OTHERS",
    "PATH",
    "RUN_FILE",
    "STORE_FILE",
    "STORE_VERSION",
    "Documents",
    "contents",
    "documents_in",
    "open_part",
    "parts_of",
    "runs_of",
]

import contextlib
import os
import stat
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from alignmeter.errors import InputError
from alignmeter.text import sentence, shortened
from alignmeter.units import bytes_text

if TYPE_CHECKING:  # a third of a second, which only a store has to wait for
    import pyarrow.parquet as pq

RUN_FILE = "run.json"
"""What a command was asked for; makes a folder a run."""
STORE_FILE = "store.json"
"""What makes a folder a store; says the schema of its parts."""
STORE_VERSION = 1
OTHERS = "others"
"""Folder of a store for what is beside records: run files, plans, searches, tables of kernels."""
PATH, DOCUMENT, ID = "path", "document", "record_id"
"""Columns of a part: where the file was, what was in it, and the SHA-256 of that in hex."""
_LARGEST_BYTES = 64 << 20
"""A record has some 7 KiB. What is so large is something else; reading it could take all memory."""
_SAID = 100
"""Characters of a library's own words in a sentence."""
_OPEN = 8
"""Row groups in memory at once: neighbours in order of path mostly lie in one of a few parts."""


class _Place(NamedTuple):
    part: Path
    group: int
    row: int


class _Marker(msgspec.Struct):
    schema_version: Any = None


class Documents:
    """What was found. ``paths``: of every document; those of a store name no file."""

    def __init__(self) -> None:
        self.paths: list[Path] = []
        self._stored: dict[Path, _Place] = {}
        self._sizes: dict[Path, list[int]] = {}
        self._groups: OrderedDict[tuple[Path, int], Any] = OrderedDict()

    def read(self, path: Path) -> bytes:
        """What is in one. Raises `InputError` for what cannot be one, `OSError` if unreadable."""
        place = self._stored.get(path)
        return contents(path) if place is None else self._stored_bytes(place)

    def below(self, folder: Path) -> list[Path]:
        """Those of `paths` that lie in it, or deeper."""
        return [path for path in self.paths if path.is_relative_to(folder)]

    def add_file(self, path: Path) -> None:
        """A file of that name."""
        self.paths.append(path)

    def add_store(self, folder: Path) -> None:
        """Every document of a store. Of several at one path the last that was compacted stands.

        Raises `InputError` for a store of another version, or a part that is no Parquet of ours.
        """
        before = len(self._stored)
        for part in parts_of(folder):
            with open_part(part) as file:
                for group in range(file.num_row_groups):
                    names: list[Any] = (
                        file.read_row_group(group, columns=[PATH]).column(0).to_pylist()
                    )
                    for row, name in enumerate(names):
                        self._stored[folder / name] = _Place(part, group, row)
        self.paths.extend(list(self._stored)[before:])

    def add_row(self, path: Path, part: Path, row: int) -> None:
        """The document in that row of a part. Raises as `add_store` does."""
        if part not in self._sizes:
            with open_part(part) as file:
                groups = range(file.num_row_groups)
                self._sizes[part] = [file.metadata.row_group(group).num_rows for group in groups]
        group = 0
        while row >= self._sizes[part][group]:
            row -= self._sizes[part][group]
            group += 1
        self._stored[path] = _Place(part, group, row)

    def _stored_bytes(self, place: _Place) -> bytes:
        key = place[:2]
        if key not in self._groups:
            with open_part(place.part) as file:
                column = file.read_row_group(place.group, columns=[DOCUMENT]).column(0)
            self._groups[key] = column.combine_chunks()
            if len(self._groups) > _OPEN:
                self._groups.popitem(last=False)
        self._groups.move_to_end(key)
        found: bytes = self._groups[key][place.row].as_py()
        return found


def parts_of(store: Path) -> list[Path]:
    """The Parquet files of a store, in the order in which they were written.

    Raises `InputError` if the store is of a version that cannot be read here.
    """
    path = store / STORE_FILE
    try:
        version = msgspec.json.decode(contents(path), type=_Marker).schema_version
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: no such file; give a folder that `alignmeter store compact` made"
        ) from error
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not a store's: {error}") from error
    if version != STORE_VERSION:
        raise InputError(f"{path}: schema_version is {version!r}; this version reads 1")
    return sorted(store.rglob("part-*.parquet"), key=lambda part: (part.name, part.parts))


def documents_in(folder: Path, refused: list[str]) -> Documents:
    """All below ``folder``: what ends in ``.json``, and what stores there hold.

    ``refused`` gets a sentence for each folder and store there that cannot be read, whose records
    would be missing without a word.
    """
    found = Documents()
    for path in _json_files(folder, refused):
        if path.name != STORE_FILE:
            found.add_file(path)
            continue
        try:
            found.add_store(path.parent)
        except (InputError, OSError) as error:
            refused.append(sentence(str(error)))
    return found


def _json_files(folder: Path, refused: list[str]) -> Iterator[Path]:
    def note(error: OSError) -> None:
        refused.append(sentence(f"{error.filename}: cannot be read: {error.strerror}"))

    for place, folders, files in os.walk(folder, onerror=note):
        yield from (Path(place, name) for name in (*folders, *files) if name.endswith(".json"))


def contents(path: Path) -> bytes:
    """What is in a file. Raises `InputError` for what is none, or cannot be one of ours."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path}: not a file; a record is one")
    if found.st_size > _LARGEST_BYTES:
        raise InputError(
            f"{path}: {bytes_text(found.st_size)}, and no record has more than "
            f"{bytes_text(_LARGEST_BYTES)}"
        )
    return path.read_bytes()


@contextlib.contextmanager
def open_part(part: Path) -> "Iterator[pq.ParquetFile]":
    """A part, while it is read.

    Raises `InputError` for a file that is none, or whose pages are not what was written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(part, page_checksum_verification=True) as file:
            lacks = {PATH, DOCUMENT, ID}.difference(file.schema_arrow.names)
            if lacks:
                raise pa.ArrowInvalid(f"no column {min(lacks)}")
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise InputError(f"{part}: cannot be read: {error.strerror}") from error
        said = shortened((str(error).splitlines() or [type(error).__name__])[0], _SAID)
        raise InputError(
            f"{part}: not a part of a store ({said}); remove it, then compact again"
        ) from error


def runs_of(paths: Iterable[Path]) -> list[tuple[Path, list[Path]]]:
    """Each run with its documents, the deepest run first: of copies it is the one that counts.

    A record belongs to the nearest folder above it that has a ``run.json``, and without one to the
    folder it lies in.
    """
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in paths:
        by_folder[path.parent].append(path)
    runs = {place for place, files in by_folder.items() if any(f.name == RUN_FILE for f in files)}
    found: dict[Path, list[Path]] = defaultdict(list)
    for place, files in by_folder.items():
        nearest = next((above for above in (place, *place.parents) if above in runs), place)
        found[nearest].extend(files)
    return sorted(found.items(), key=lambda run: (-len(run[0].parts), run[0]))
