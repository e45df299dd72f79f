"""Rows of preference files: one file or a folder of shards, each row with its place."""

__all__ = ["PACKAGED", "Row", "digest_of_files", "read_rows", "shards_of"]

import hashlib
import io
import json
import re
import warnings
from collections.abc import Container, Iterator, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from alignmeter.batches.content import Content, content_of, kind_of_name
from alignmeter.cells.places import place_of
from alignmeter.errors import InputError

PACKAGED = "packaged"
Row = tuple[dict[str, Any], str]
"""Column -> value, and where the row is: ``file, line 3``."""
_SPLITS = frozenset(("train", "test", "validation", "valid", "val", "dev", "eval"))


def shards_of(data: str) -> list[tuple[str, Traversable]]:
    """Name for people and file of each shard, in name order; a file is the one shard of itself.

    ``packaged`` is the set that comes with alignmeter. Files of a folder that are no tables are
    left out, and so are hidden ones. Raises `InputError` for a folder without shards, and for one
    with several kinds or splits.
    """
    if data == PACKAGED:
        return [(PACKAGED, resources.files("alignmeter.batches") / "preferences.jsonl")]
    path = Path(place_of(data))
    if not path.is_dir():
        return [(data, path)]
    try:
        names = sorted(file.name for file in path.iterdir() if file.is_file())
    except OSError as error:
        raise InputError(f"{data}: cannot be read: {error.strerror or error}") from error
    names = [n for n in names if n[0] not in "._" and kind_of_name(n) is not None]
    kinds = sorted({str(kind_of_name(n)) for n in names})
    if not names:
        raise InputError(f"{data}: a folder without .jsonl, .json, .csv, .tsv or .parquet files")
    if len(kinds) > 1:
        raise InputError(
            f"{data}: a folder of {' and '.join(kinds)} files; keep shards of one kind in it"
        )
    splits = sorted({word for n in names if (word := re.split(r"[-_.]", n)[0].lower()) in _SPLITS})
    if len(splits) > 1:
        raise InputError(
            f"{data}: a folder of {' and '.join(splits)} shards; keep those of one split in it"
        )
    return [(f"{data.rstrip('/')}/{name}", path / name) for name in names]


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
            yield from _table_rows(content, name)


def _line_rows(content: Content, name: str) -> Iterator[Row]:
    for number, line in enumerate(content.data.splitlines(), 1):
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        try:
            row = json.loads(line)
        except UnicodeDecodeError as error:
            raise InputError(f"{where}: not UTF-8: {error.reason}; save it as UTF-8") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: not valid JSON: {error}") from error
        yield _object(row, where), where


def _array_rows(content: Content, name: str) -> Iterator[Row]:
    """A JSON array of objects; files named so often hold an object per line instead."""
    try:
        rows = json.loads(content.data)
    except (ValueError, RecursionError) as error:
        if not content.data.lstrip().startswith(b"{"):
            raise InputError(f"{name}: not valid JSON: {error}") from error
        yield from _line_rows(content, name)
        return
    for number, row in enumerate(rows if isinstance(rows, list) else [rows], 1):
        where = f"{name}, row {number}"
        yield _object(row, where), where


def _object(row: object, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise InputError(f"{where}: want an object with prompt, chosen and rejected")
    return row


def _table_rows(content: Content, name: str) -> Iterator[Row]:
    """CSV and TSV: every field is text, an absent one is null. Row 1 is the one after the names."""
    import pandas

    try:
        with warnings.catch_warnings():
            # It warns where it leaves out the last fields of rows that have more than names.
            warnings.simplefilter("error", pandas.errors.ParserWarning)
            table = pandas.read_csv(
                io.BytesIO(content.data),
                sep="\t" if content.kind == "tsv" else ",",
                dtype=str,
                keep_default_na=False,
                index_col=False,
            )
    except (ValueError, pandas.errors.ParserWarning) as error:
        first = next(iter(str(error).splitlines()), "")
        kind = content.kind.upper()
        raise InputError(f"{name}: not {kind} that can be read: {first}") from error
    names = [str(column) for column in table.columns]
    for number, values in enumerate(table.itertuples(index=False, name=None), 1):
        row = {n: v if isinstance(v, str) else None for n, v in zip(names, values, strict=True)}
        yield row, f"{name}, row {number}"


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
            for row in part.to_pylist():
                number += 1
                yield row, f"{name}, row {number}"
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        first = next(iter(str(error).splitlines()), "")
        raise InputError(f"{name}: not a Parquet file that can be read: {first}") from error
