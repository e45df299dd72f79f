"""Every replicate with every column and its steps, as Parquet: what a page has no room for."""

__all__ = ["SCHEMA", "columns_of", "parquet_bytes"]

import io
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from alignmeter.analysis.prices import Prices
from alignmeter.records.record import Record
from alignmeter_reports.table import COLUMNS, in_order, kind_of, row_of

_STEPS = "step_s"
_TYPES: dict[str, pa.DataType] = {
    "text": pa.string(),
    "number": pa.float64(),
    "whole number": pa.int64(),
}
SCHEMA = pa.schema(
    [*((name, _TYPES[kind_of(name)]) for name in COLUMNS), (_STEPS, pa.list_(pa.float64()))]
)
"""Every column of `COLUMNS`, and ``step_s``, a list of s."""
_BATCH = 10_000
"""Rows in memory at once, and of a row group."""


def parquet_bytes(records: Sequence[Record], prices: Prices | None = None) -> bytes:
    """The columns of `SCHEMA`, unguarded, and ``step_s``, a list of s."""
    file = io.BytesIO()
    with pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        for batch in _batches(records, prices):
            writer.write_table(batch)
    return file.getvalue()


def _batches(records: Sequence[Record], prices: Prices | None) -> Iterator[pa.Table]:
    """At least one, for a file has its columns without rows too."""
    ordered = in_order(records)
    for start in range(0, len(ordered), _BATCH) or (0,):
        batch = ordered[start : start + _BATCH]
        yield pa.table(columns_of(batch, prices), schema=SCHEMA)


def columns_of(
    records: Sequence[Record], prices: Prices | None = None
) -> "dict[str, pa.Array[Any]]":
    """Name -> column of `SCHEMA`, with a row for each record in their order."""
    listed = [row_of(record, prices) for record in records]
    columns = {name: _array([row[name] for row in listed], kind_of(name)) for name in COLUMNS}
    steps = [record.timing.step_s for record in records]
    return {**columns, _STEPS: pa.array(steps, type=SCHEMA.field(_STEPS).type)}


def _array(values: Sequence[object], kind: str) -> "pa.Array[Any]":
    """A column has one type in every report. A whole number beyond 64 bits is left out."""
    if kind == "text":
        return pa.array([None if v is None else str(v) for v in values], type=_TYPES[kind])
    numbers = [v if isinstance(v, int | float) else None for v in values]
    if kind == "number":
        return pa.array([None if v is None else float(v) for v in numbers], type=_TYPES[kind])
    whole = [v if isinstance(v, int) and abs(v) < 2**63 else None for v in numbers]
    return pa.array(whole, type=_TYPES[kind])
