"""Documents as rows of a store: what stands in its columns, and where a row belongs."""

__all__ = ["COLUMNS", "PART_SCHEMA", "SCHEMA", "Row", "table_of"]

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa

from alignmeter.analysis.history import HISTORY_FIELDS, RULES, history_columns
from alignmeter.analysis.likeness import UNKNOWN, moment
from alignmeter.records.documents import DOCUMENT, ID, OTHERS, PATH
from alignmeter.records.record import Record
from alignmeter_reports.parquet import SCHEMA as REPORTED
from alignmeter_reports.parquet import columns_of
from alignmeter_reports.table import COLUMNS as REPORT_COLUMNS

_OWN: Mapping[str, str] = {
    ID: "SHA-256 of the record's file, in hex: the key",
    PATH: "its file, below the folder that was compacted",
    "run": "folder of its run, as `alignmeter history` names it",
    "part": "number of the part that it came with: of one path the last part's row stands",
}
COLUMNS: Mapping[str, str] = {
    **_OWN,
    **REPORT_COLUMNS,
    "step_s": "times of all timed steps, in s",
    DOCUMENT: "the record's file, byte by byte",
}
"""Every column of a store, in order, with its meaning."""
SCHEMA = pa.schema([
    *((name, pa.string()) for name in (ID, PATH, "run")), ("part", pa.int64()),
    *((field.name, field.type) for field in REPORTED), (DOCUMENT, pa.binary()),
])  # fmt: skip
"""The columns with their types; whole numbers have 64 bits."""
_TYPES = {"text": pa.string(), "number": pa.float64()}
_HISTORY = [pa.field(name, _TYPES[kind]) for name, kind in HISTORY_FIELDS.items()]
PART_SCHEMA = pa.schema([*SCHEMA, *_HISTORY], metadata=RULES)
"""The columns of a part, with those that a history reads in place of the documents."""


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
"""Records are untrusted, and this is a folder's name."""


class Row(NamedTuple):
    """A document with its place. ``record``: ``None`` where it is something else."""

    digest: str
    path: PurePosixPath
    run: str
    data: bytes
    record: Record | None

    @property
    def partition(self) -> str:
        """Folder of its part: accelerator and month of the start (UTC), which queries ask for."""
        if self.record is None:
            return OTHERS
        when = moment(self.record)
        month = "unknown" if when == UNKNOWN else f"{when:%Y-%m}"
        named = self.record.cell.accelerator
        accelerator = named if _NAME.fullmatch(named) else "unknown"
        return f"records/in_accelerator={accelerator}/in_month={month}"


def table_of(rows: Sequence[Row], part: int, schema: pa.Schema = SCHEMA) -> pa.Table:
    """The rows of one partition, with the columns of ``schema``: `SCHEMA` or `PART_SCHEMA`."""
    records = [row.record for row in rows if row.record is not None]
    if records and len(records) < len(rows):
        raise ValueError("records and other documents are of different partitions")
    columns: dict[str, Any] = {
        ID: [row.digest for row in rows],
        PATH: [str(row.path) for row in rows],
        "run": [row.run for row in rows],
        "part": [part] * len(rows),
        DOCUMENT: [row.data for row in rows],
    }
    if records:
        columns |= columns_of(records)
        columns |= history_columns(records) if schema is PART_SCHEMA else {}
    else:
        columns |= {f.name: pa.nulls(len(rows), f.type) for f in schema if f.name not in columns}
    return pa.table(columns, schema=schema)
