"""Readers of other people's result files, one file a format."""

__all__ = ["FORMATS", "read_foreign"]

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from alignmeter.errors import InputError, known
from alignmeter.records.foreign import described_csv, peft_comparison, pytest_benchmark
from alignmeter.records.reported import SCHEMA_VERSION, Reported, ReportedSet, Source
from alignmeter.units import GIB, bytes_text

Reader = Callable[[bytes, str, int], list[Reported]]
FORMATS: dict[str, tuple[str, str, Reader]] = {
    "peft": (
        "PEFT method comparison",
        "https://github.com/huggingface/peft/tree/main/method_comparison",
        peft_comparison.rows,
    ),
    "pytest-benchmark": ("pytest-benchmark, this project's suites", "", pytest_benchmark.rows),
}
"""Format -> whose results, where they are published, and what reads a JSON file of it."""
_MARKS = {"peft": ("run_info", "train_info"), "pytest-benchmark": ("benchmarks", "machine_info")}
"""Format -> the keys that tell it."""
_LARGEST_BYTES = GIB


def read_foreign(files: Sequence[Path], columns: Path | None = None) -> ReportedSet:
    """All rows of the files, in their order. ``columns``: TOML that describes the CSV files.

    Raises `InputError` that names the file, the field and what would be right.
    """
    described = None if columns is None else described_csv.read_columns(columns)
    sources: list[Source] = []
    rows: list[Reported] = []
    for path in files:
        data, where = _contents(path), str(path)
        if path.suffix.lower() == ".csv":
            if described is None:
                raise InputError(
                    f"{path}: a CSV file; give --columns FILE, which says what is in it"
                )
            name, title, url = "csv", described.source, described.url
            found = described_csv.rows(data, where, len(sources), described)
        else:
            name = _format(data, where)
            title, url, reader = FORMATS[name]
            found = reader(data, where, len(sources))
        if not found:
            raise InputError(f"{path}: holds no result; give a file with one row or more")
        digest = hashlib.sha256(data).hexdigest()
        sources.append(Source(format=name, file=path.name, sha256=digest, title=title, url=url))
        rows += found
    return ReportedSet(schema_version=SCHEMA_VERSION, sources=sources, rows=rows)


def _contents(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > _LARGEST_BYTES:
            raise InputError(
                f"{path}: {bytes_text(size)}; a file of results has at most "
                f"{bytes_text(_LARGEST_BYTES)}"
            )
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def _format(data: bytes, where: str) -> str:
    """The format whose keys the document has."""
    try:
        document = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{where}: neither a CSV file nor a JSON object: {error}") from error
    for name, keys in _MARKS.items():
        if all(key in document for key in keys):
            return name
    raise InputError(f"{where}: a JSON file of no format that is known here; {known(FORMATS)}, csv")
