"""Parts of a store as `compact` would write them, from made documents, without a file for each.

A million small files take an hour to write, read and remove. Here each document of the first night
goes through `table_of`, and later nights differ from it in what `store.made` changes. A sample of
rows is held against those that `table_of` makes of their documents.
"""

__all__ = ["fill_by_parts"]

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from alignmeter.analysis.intervals import step_median
from alignmeter.records.documents import RUN_FILE, STORE_FILE, STORE_VERSION
from alignmeter.records.record import decode_record
from alignmeter.store.rows import PART_SCHEMA, Row, table_of

_ROWS = 10_000
_CHECKED = 5
"""Rows of each part."""


class _Made(NamedTuple):
    run: str
    name: str
    document: dict[str, Any]
    data: bytes

    @property
    def month(self) -> str:
        return str(self.document["provenance"]["started"])[:7]

    def row(self) -> Row:
        record = decode_record(self.data, self.name)
        digest = hashlib.sha256(self.data).hexdigest()
        path = PurePosixPath(self.run) / self.name
        return Row(digest=digest, path=path, run=self.run, data=self.data, record=record)


def fill_by_parts(store: Path, made: Iterator[tuple[str, str, dict[str, Any]]]) -> None:
    """Write a store that holds them. Raises `SystemExit` if a row is not what it should be."""
    store.mkdir(parents=True)
    (store / STORE_FILE).write_text(json.dumps({"schema_version": STORE_VERSION}))
    known: dict[tuple[str, str], int] = {}
    first: list[pa.Table] = []
    waiting: list[_Made] = []
    part = 0
    for run, name, document in made:
        found = _Made(run, name, document, msgspec.json.encode(document))
        if waiting and (found.month != waiting[0].month or len(waiting) >= _ROWS):
            part += 1
            _write(store, waiting, known, first, part)
            waiting = []
        waiting.append(found)
    _write(store, waiting, known, first, part + 1)


def _write(
    store: Path, made: Sequence[_Made], known: dict[tuple[str, str], int], first: list[pa.Table],
    part: int,
) -> None:  # fmt: skip
    new = {_place(one): one for one in made if _place(one) not in known}
    if new:
        first.append(table_of([one.row() for one in new.values()], part, PART_SCHEMA))
        known |= {place: len(known) + i for i, place in enumerate(new)}
    table = pa.concat_tables(first).take(pa.array([known[_place(one)] for one in made]))
    for name, values in _changed(made, part).items():
        field = PART_SCHEMA.field(name)
        at = table.schema.get_field_index(name)
        table = table.set_column(at, field, pa.array(values, field.type))
    for i in random.Random(part).sample(range(len(made)), min(_CHECKED, len(made))):
        right = table_of([made[i].row()], part, PART_SCHEMA)
        if table.slice(i, 1).to_pylist() != right.to_pylist():
            raise SystemExit(f"{made[i].run}/{made[i].name}: not the row that compact writes")
    place = store / made[0].row().partition
    place.mkdir(parents=True, exist_ok=True)
    name = f"part-{part:06}.parquet"
    pq.write_table(table, place / name, compression="zstd", row_group_size=1000)
    (store / "others").mkdir(exist_ok=True)
    pq.write_table(_run_files(made, part), store / "others" / name, compression="zstd")


def _place(one: _Made) -> tuple[str, str]:
    """What does not change from night to night: node and cell."""
    return one.run.rpartition("/")[2], one.name


def _changed(made: Sequence[_Made], part: int) -> dict[str, list[Any]]:
    documents = [one.document for one in made]
    steps = [document["timing"]["step_s"] for document in documents]
    rates = [document["throughput"]["trained_tokens_per_s"] for document in documents]
    return {
        "record_id": [hashlib.sha256(one.data).hexdigest() for one in made],
        "path": [f"{one.run}/{one.name}" for one in made],
        "run": [one.run for one in made],
        "part": [part] * len(made),
        "started": [document["provenance"]["started"] for document in documents],
        "step_s": steps,
        "step_median_s": [document["timing"]["median_s"] for document in documents],
        "trained_tokens_per_s": rates,
        "history_time": [step_median(times) for times in steps],
        "history_tokens": rates,
        "document": [one.data for one in made],
    }


def _run_files(made: Sequence[_Made], part: int) -> pa.Table:
    rows = []
    for run in dict.fromkeys(one.run for one in made):
        data = json.dumps({"schema_version": 1, "run": run}).encode()
        path = PurePosixPath(run) / RUN_FILE
        digest = hashlib.sha256(data).hexdigest()
        rows.append(Row(digest=digest, path=path, run=run, data=data, record=None))
    return table_of(rows, part, PART_SCHEMA)
