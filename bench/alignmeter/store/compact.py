"""From folders to a store: what it does not hold yet, in Parquet parts that appear whole."""

__all__ = ["Compacted", "check_store", "compact", "new_rows"]

import hashlib
import io
import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow.parquet as pq

from alignmeter.errors import InputError
from alignmeter.records.documents import (
    ID,
    OTHERS,
    PATH,
    RUN_FILE,
    STORE_FILE,
    STORE_VERSION,
    documents_in,
    open_part,
    parts_of,
    runs_of,
)
from alignmeter.records.folder import Loaded, add_document, write_bytes
from alignmeter.records.lock import locked
from alignmeter.records.record import Record
from alignmeter.store.rows import PART_SCHEMA, Row, table_of
from alignmeter.text import sentence

_BATCH = 10_000
"""Documents in memory at once: some 80 MB."""
_GROUP = 1_000
"""Rows of a row group: what has to be read for one document."""
_NUMBER = 6
"""Digits of a part's number in its name, so that names stand in order of time."""
_NUMBERED = re.compile(r"part-(\d+)\.parquet", re.ASCII)


@dataclass(kw_only=True)
class Compacted:
    """``records``, ``others``: that were written; ``already``: that the store had; ``refused``: a
    sentence for each file that is neither, which is left where it is.
    """

    records: int = 0
    others: int = 0
    already: int = 0
    refused: list[str] = field(default_factory=list)


def compact(folder: Path, store: Path) -> Compacted:
    """Write to ``store`` what is below ``folder`` and is not there yet; nothing is removed.

    A record counts once, wherever its copies lie; other documents once for each path. Each part is
    complete or absent, so a second call goes on where a killed one stopped. Raises `InputError` if
    ``folder`` does not exist or holds ``store``, or ``store`` cannot be written, is held by another
    process, is of another version or has a broken part.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give one that holds runs")
    if store.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{store}: a store in {folder}, of which it is made; give one beside it")
    done = Compacted()
    with locked(store):
        if not (store / STORE_FILE).exists():
            marker = json.dumps({"schema_version": STORE_VERSION}).encode() + b"\n"
            write_bytes(store / STORE_FILE, marker)
        for litter in store.rglob(".part-*.partial"):  # whoever wrote it held the lock
            litter.unlink()
        known, number = _held(store)
        waiting = new_rows(folder, known, done)
        while rows := list(islice(waiting, _BATCH)):
            number += 1
            _write(store, rows, number, done)
    return done


def check_store(store: Path) -> None:
    """Raises `InputError` for a store of another version, and for a broken part; by their ends
    alone, so that it costs little. Where there is no store yet, nothing is wrong with it.
    """
    if (store / STORE_FILE).exists():
        for part in parts_of(store):
            with open_part(part):
                pass


def _held(store: Path) -> tuple[set[object], int]:
    """What makes a document one that is there, and the number of the last part."""
    known: set[object] = set()
    number = 0
    for part in parts_of(store):
        if found := _NUMBERED.fullmatch(part.name):  # a copy has another name
            number = max(number, int(found[1]))
        with open_part(part) as file:
            table = file.read(columns=[ID, PATH])
        ids: list[Any] = table.column(ID).to_pylist()
        paths: list[Any] = table.column(PATH).to_pylist()
        others = part.parent.name == OTHERS
        known.update(zip(ids, paths, strict=True) if others else map(bytes.fromhex, ids))
    return known, number


def new_rows(folder: Path, known: Collection[object], done: Compacted) -> Iterator[Row]:
    """Documents below ``folder`` that are not ``known``, run by run. ``done`` gets the rest."""
    found = documents_in(folder, done.refused)
    seen: set[object] = set()
    for place, paths in runs_of(found.paths):
        run = str(place.relative_to(folder)) if place != folder else place.resolve().name
        for path in sorted(paths):
            try:
                data = found.read(path)
                row = Row(
                    digest=hashlib.sha256(data).hexdigest(),
                    path=PurePosixPath(path.relative_to(folder).as_posix()),
                    run=run,
                    data=data,
                    record=None,
                )
                # Most of what a lab has is there: it need not be decoded to know that.
                keys = {bytes.fromhex(row.digest), (row.digest, str(row.path))}
                if not (keys.isdisjoint(known) and keys.isdisjoint(seen)):
                    done.already += 1
                    continue
                row = row._replace(record=_record(data, path))
            except (InputError, OSError) as error:
                done.refused.append(sentence(str(error)))
                continue
            seen.add(_key(row))
            yield row


def _key(row: Row) -> object:
    if row.record is None:
        return row.digest, str(row.path)
    return bytes.fromhex(row.digest)


def _record(data: bytes, path: Path) -> Record | None:
    """``None`` of what is beside records. Raises `InputError` for what is neither."""
    loaded = Loaded(records=[], refused=[])
    if path.name != RUN_FILE:
        add_document(loaded, data, path)
    return loaded.records[0] if loaded.records else None


def _write(store: Path, rows: Collection[Row], number: int, done: Compacted) -> None:
    """A part for each partition. Records come last: what is beside them is then there."""
    partitions: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        partitions[row.partition].append(row)
    for name, mine in sorted(partitions.items()):
        file = io.BytesIO()
        table = table_of(mine, number, PART_SCHEMA)
        pq.write_table(
            table, file, compression="zstd", row_group_size=_GROUP, write_page_checksum=True
        )
        write_bytes(store / name / f"part-{number:0{_NUMBER}}.parquet", file.getvalue())
        if name == OTHERS:
            done.others += len(mine)
        else:
            done.records += len(mine)
