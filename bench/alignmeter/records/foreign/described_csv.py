"""A CSV file of results, and the TOML file that says what its columns hold.

```toml
schema = 1
source = "Table 3 of Doe et al. 2026"      # whose results: shown with every row
url = "https://example.org/table.csv"
peak_of = "reserved"                       # or "allocated": what the peak is a peak of

[columns]                                  # a field of ours = the name of the column
name = "config"
peft = "method"
step_s = "ms/step"
peak_bytes = "memory (GB)"

[units]                                    # what a figure is multiplied by: s, bytes, J, tokens/s
step_s = 0.001
peak_bytes = 1e9

[fixed]                                    # what is the same in every row and in no column
method = "sft"
device = "NVIDIA A100-SXM4-80GB"

[others]                                   # any other figures = the names of their columns
accuracy = "acc"
```
"""

__all__ = ["Columns", "read_columns", "rows"]

import csv
import math
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from alignmeter.cells.toml_document import read_toml
from alignmeter.errors import InputError, known
from alignmeter.records.reported import Reported
from alignmeter.text import shortened

TEXTS = ("name", "method", "model", "peft", "precision", "device", "measured")
COUNTS = ("seq_len", "batch", "peak_bytes")
FIGURES = ("step_s", "tokens_per_s", "energy_j")
FIELDS = (*TEXTS, *COUNTS, *FIGURES)
_LONGEST = 60
_Names = Annotated[dict[str, str], Meta(description='write field = "name of the column"')]


class Columns(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is in a CSV file; the module's text has an example."""

    source: Annotated[str, Meta(min_length=1, description="say in a few words whose results")]
    columns: _Names
    url: Annotated[str, Meta(description="give an address as text")] = ""
    peak_of: Annotated[
        Literal["", "allocated", "reserved"], Meta(description="give allocated or reserved")
    ] = ""
    units: Annotated[
        dict[str, Annotated[float, Meta(gt=0, le=1e18, description="give a number above 0")]],
        Meta(description="write field = factor"),
    ] = {}
    fixed: Annotated[dict[str, str | int | float], Meta(description="write field = value")] = {}
    others: _Names = {}


def read_columns(path: Path) -> Columns:
    """The description. Raises `InputError` naming the file, the field and what is right."""
    found = read_toml(path, Columns)
    for table in ("columns", "units", "fixed"):
        for field in getattr(found, table):
            allowed = (*COUNTS, *FIGURES) if table == "units" else FIELDS
            if field not in allowed:
                raise InputError(
                    f"{path}: {table}.{shortened(field, _LONGEST)} is no field; {known(allowed)}"
                )
    if "name" not in found.columns:
        raise InputError(f"{path}: columns.name is missing; give the column that names a row")
    return found


def rows(data: bytes, where: str, source: int, described: Columns) -> list[Reported]:
    """A row per line. Raises `InputError` that names ``where``, the line, the column."""
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8 text; save it as UTF-8") from error
    reader = csv.DictReader(lines, strict=True)
    try:
        heads = reader.fieldnames or ()
        for column in (*described.columns.values(), *described.others.values()):
            if column not in heads:
                raise InputError(
                    f"{where}: no column {shortened(column, _LONGEST)!r}; {known(heads, column)}"
                )
        return [
            _row(line, f"{where}, line {reader.line_num}", source, described) for line in reader
        ]
    except csv.Error as error:
        raise InputError(f"{where}, line {reader.line_num}: not CSV: {error}") from error


def _row(line: dict[str, str], where: str, source: int, described: Columns) -> Reported:
    found: dict[str, Any] = {"source": source, "peak_of": described.peak_of, **described.fixed}
    for field, column in described.columns.items():
        text = (line[column] or "").strip()
        if field in TEXTS:
            found[field] = text
        elif text:
            number = _number(text, where, column) * described.units.get(field, 1.0)
            found[field] = round(number) if field in COUNTS else number
    others = {name: (line[column] or "").strip() for name, column in described.others.items()}
    found["others"] = {
        name: _number(text, where, described.others[name]) for name, text in others.items() if text
    }
    try:
        return msgspec.convert(found, Reported)
    except msgspec.ValidationError as error:
        raise InputError(f"{where}: {error}") from error


def _number(text: str, where: str, column: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(
            f"{where}: column {shortened(column, _LONGEST)!r} is {shortened(text, _LONGEST)!r}; "
            "a number is right, or nothing"
        )
    return number
