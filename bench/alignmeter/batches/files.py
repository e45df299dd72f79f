"""Rows of preference files, each with its place."""

__all__ = ["Row", "digest_of_files", "read_rows"]

import hashlib
import io
import json
from collections.abc import Container, Iterator, Sequence
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any

from alignmeter.batches.content import Content, content_of
from alignmeter.batches.shards import shards_of
from alignmeter.batches.tables import table_rows
from alignmeter.errors import InputError
from alignmeter.text import shortened, shown_path

if TYPE_CHECKING:
    import pyarrow

Row = tuple[dict[str, Any], str]
"""Column -> value, and where the row is: ``file, line 3``."""


def _bytes_of(name: str, file: Traversable) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror or error}") from error


def digest_of_files(contents: Sequence[bytes]) -> str:
    """SHA-256 of a file's bytes as they lie there; of shards, of their digests in order."""
    digests = [hashlib.sha256(content) for content in contents]
    if len(digests) == 1:
        return digests[0].hexdigest()
    return hashlib.sha256(b"".join(digest.digest() for digest in digests)).hexdigest()


def read_rows(data: str, columns: Container[str]) -> tuple[str, Iterator[Row]]:
    """Digest of the files, and their rows in order.

    ``columns``: those that a row may be asked for, small letters; of Parquet no other is read.
    Raises `InputError` for what cannot be read, while it is iterated over too.
    """
    shards = [(name, _bytes_of(name, file)) for name, file in shards_of(data)]
    digest = digest_of_files([raw for _, raw in shards])
    return digest, _rows(shards, columns)


def _rows(shards: list[tuple[str, bytes]], columns: Container[str]) -> Iterator[Row]:
    while shards:
        name, raw = shards.pop(0)  # each is let go of once it is read
        content = content_of(raw, name)
        del raw
        if content.kind == "parquet":
            yield from _parquet_rows(content, name, columns)
        elif content.kind == "json":
            yield from _array_rows(content, name)
        elif content.kind == "jsonl":
            yield from _line_rows(content, name)
        else:
            yield from table_rows(content, name, columns)


def _line_rows(content: Content, name: str) -> Iterator[Row]:
    for number, line in enumerate(content.data.splitlines(), 1):
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        try:
            row, twice = _decoded(line)
        except UnicodeDecodeError as error:
            raise InputError(f"{where}: not UTF-8: {error.reason}; save it as UTF-8") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: not valid JSON: {_in_line(error)}") from error
        yield _object(row, where, twice), where


def _in_line(error: Exception) -> str:
    """What is wrong in a line, whose number was said."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.colno}"
    return str(error)


def _array_rows(content: Content, name: str) -> Iterator[Row]:
    """A JSON array of objects; files named so often hold an object per line instead."""
    try:
        rows, twice = _decoded(content.data)
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: not UTF-8: {error.reason}; save it as UTF-8") from error
    except (ValueError, RecursionError) as error:
        if not content.data.lstrip().startswith(b"{"):
            raise InputError(f"{name}: not valid JSON: {error}") from error
        yield from _line_rows(content, name)
        return
    for number, row in enumerate(rows if isinstance(rows, list) else [rows], 1):
        where = f"{name}, row {number}"
        yield _object(row, where, twice), where


def _decoded(text: bytes) -> tuple[Any, list[tuple[dict[str, Any], str]]]:
    """The value, and the objects in it that have a key twice, each with that key.

    Who reads such an object takes the last value (RFC 8259, 4: "unpredictable"), and the row may
    have meant the other.
    """
    twice: list[tuple[dict[str, Any], str]] = []

    def made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice.append((found, next(name for name in names if names.count(name) > 1)))
        return found

    return json.loads(text, object_pairs_hook=made), twice


def _object(
    row: object, where: str, twice: Sequence[tuple[dict[str, Any], str]] = ()
) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise InputError(f"{where}: want an object with prompt, chosen and rejected")
    for found, name in twice:
        if _within(row, found):
            shown = shown_path(name, 40)
            raise InputError(f"{where}: {shown!r} is there twice in one object; keep one of them")
    return row


def _within(value: object, wanted: object) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is wanted or any(_within(part, wanted) for part in parts)


def _parquet_rows(content: Content, name: str, columns: Container[str]) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(io.BytesIO(content.data))
        found = file.schema_arrow.names
        wanted = [n for n in dict.fromkeys(found) if n.lower() in columns]
        if len(wanted) < 2:  # what else is there says whether a prompt was meant to stand alone
            wanted = found
        number = 0
        for part in file.iter_batches(columns=wanted):
            for row in _values(part, name):
                number += 1
                yield row, f"{name}, row {number}"
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        first = next(iter(str(error).splitlines()), "")
        raise InputError(f"{name}: not a Parquet file that can be read: {first}") from error


_NO_VALUES = (OverflowError, KeyError, ValueError)
"""What pyarrow raises for dates out of bounds, unknown time zones, and text that is no UTF-8."""


def _values(part: "pyarrow.RecordBatch", name: str) -> list[dict[str, Any]]:
    """The rows of a part. Raises `InputError` naming a column that Python has no values for."""
    try:
        return part.to_pylist()
    except _NO_VALUES:
        for number, column in enumerate(part.schema):
            try:
                part.column(number).to_pylist()
            except _NO_VALUES as error:
                shown = f"{shown_path(column.name, 40)!r} of type {column.type!s:.40}"
                first = next(iter(str(error).splitlines()), "")
                raise InputError(
                    f"{name}: column {shown} cannot be read: {shortened(first, 60)}; give text "
                    "or lists of messages"
                ) from error
        raise
