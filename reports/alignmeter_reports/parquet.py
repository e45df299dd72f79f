"""Every replicate with every column and its steps, as Parquet: what a page has no room for."""

__all__ = ["parquet_bytes"]

import io
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from alignmeter.records.record import Record
from alignmeter_reports.table import COLUMNS, kind_of

_STEPS = "step_s"


def parquet_bytes(records: Sequence[Record], table: pd.DataFrame) -> bytes:
    """The columns of ``table``, which `frame` made, unguarded, and ``step_s``, a list of s."""
    arrays = {name: _array(table[name].tolist(), kind_of(name)) for name in COLUMNS}
    ordered = sorted(records, key=lambda record: (record.cell.id, record.replicate))
    arrays[_STEPS] = pa.array([r.timing.step_s for r in ordered], type=pa.list_(pa.float64()))
    file = io.BytesIO()
    pq.write_table(pa.table(arrays), file, compression="zstd")
    return file.getvalue()


def _array(values: Sequence[object], kind: str) -> "pa.Array[Any]":
    """A column has one type in every report. A whole number beyond 64 bits is left out."""
    if kind == "text":
        return pa.array([None if v is None else str(v) for v in values], type=pa.string())
    numbers = [v if isinstance(v, int | float) else None for v in values]
    if kind == "number":
        return pa.array([None if v is None else float(v) for v in numbers], type=pa.float64())
    whole = [v if isinstance(v, int) and abs(v) < 2**63 else None for v in numbers]
    return pa.array(whole, type=pa.int64())
