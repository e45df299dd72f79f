"""A run's folder: one JSON file per replicate, written whole or not at all."""

__all__ = [
    "Loaded",
    "default_folder",
    "load_folders",
    "record_path",
    "write_bytes",
    "write_record",
    "write_run_file",
]

import json
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from alignmeter.errors import InputError
from alignmeter.portability import Portability, decode_portability
from alignmeter.record import Record, decode_record, encode_record

RUN_FILE = "run.json"
KERNELS_FILE = "kernels.json"
"""What `alignmeter kernels --out DIR/kernels.json` stored beside the records."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """What a set of folders held: the records, and one sentence per file that was refused.

    ``portability``: the tables that `alignmeter kernels` stored there.
    """

    records: list[Record]
    refused: list[str]
    portability: list[Portability] = field(default_factory=list)


def default_folder() -> Path:
    """``results/<date-time>`` below the working folder, in local time."""
    return Path("results") / datetime.now().astimezone().strftime("%Y-%m-%d-%H%M%S")


def write_run_file(folder: Path, matrix: str, axes: Mapping[str, object], command: str) -> None:
    """``DIR/run.json``: what was asked for, where. Raises `InputError` if it cannot be written."""
    content = {
        "schema_version": 1,
        "matrix": matrix,
        "axes": dict(axes),
        "command": command,
        "host": platform.node(),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    write_bytes(folder / RUN_FILE, json.dumps(content, indent=1).encode() + b"\n")


def record_path(folder: Path, cell_id: str, replicate: int) -> Path:
    """``DIR/<cell-id>.r<k>.json``."""
    return folder / f"{cell_id}.r{replicate}.json"


def write_bytes(path: Path, data: bytes) -> None:
    """Write through a temporary file, fsync, rename, fsync of the folder.

    Raises `InputError` if the folder cannot be made or written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if partial.exists():
            partial.unlink()


def write_record(folder: Path, record: Record) -> Path:
    """Store one record; returns its path. An earlier record of the same replicate is replaced."""
    path = record_path(folder, record.cell.id, record.replicate)
    write_bytes(path, encode_record(record))
    return path


def load_folders(folders: Iterable[Path]) -> Loaded:
    """All records below ``folders``; a bad file is refused by name and the rest is still read.

    A file ``kernels.json`` is read as a portability table. What is there more than once, in copies
    or because folders overlap, is read once: a record's copies would otherwise pass for replicates.
    Raises `InputError` if a folder does not exist.
    """
    loaded = Loaded(records=[], refused=[])
    seen: set[bytes] = set()
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; give one that `alignmeter run` wrote")
        for path in sorted(folder.rglob("*.json")):
            if path.name == RUN_FILE:
                continue
            try:
                data = path.read_bytes()
                if data not in seen:
                    _add(loaded, data, path)
                seen.add(data)
            except InputError as error:
                loaded.refused.append(str(error))
            except OSError as error:
                loaded.refused.append(f"{path}: cannot be read: {error.strerror or error}")
    return loaded


def _add(loaded: Loaded, data: bytes, path: Path) -> None:
    if path.name == KERNELS_FILE:
        loaded.portability.append(decode_portability(data, str(path)))
    else:
        loaded.records.append(decode_record(data, str(path)))
