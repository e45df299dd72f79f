"""A run's folder: one JSON file per replicate, written whole or not at all."""

__all__ = [
    "REPORTED_FILE",
    "Loaded",
    "add_document",
    "check_writable",
    "default_folder",
    "load_documents",
    "load_folders",
    "no_records",
    "not_written",
    "read_record",
    "record_path",
    "timeline_path",
    "write_bytes",
    "write_record",
    "write_run_file",
]

import contextlib
import hashlib
import json
import os
import platform
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import msgspec

from alignmeter.errors import InputError
from alignmeter.records.capacity import CapacityPoint, decode_capacity
from alignmeter.records.documents import RUN_FILE, Documents, contents, documents_in
from alignmeter.records.garbage import unsearched
from alignmeter.records.interning import Sharing
from alignmeter.records.portability import Portability, decode_portability
from alignmeter.records.prediction import Prediction, decode_predictions
from alignmeter.records.record import Record, decode_record, encode_record
from alignmeter.records.reported import ReportedSet, decode_reported
from alignmeter.records.timeline import Timeline, encode_timeline
from alignmeter.text import sentence

PLAN_FILE = "plan.json"
"""What `alignmeter plan --out DIR` stored."""
KERNELS_FILE = "kernels.json"
"""What `alignmeter kernels --out DIR/kernels.json` stored beside the records."""
REPORTED_FILE = "reported.json"
"""What `alignmeter import --out DIR` stored."""
CAPACITY_FILE = "capacity.json"
"""What `pytest --benchmark suites/bench_capacity.py --results DIR` stored."""
_FOLDER_WANTED = "give a folder that `alignmeter run` wrote"
_FORMER_CAPACITY_FILE = "frontier.json"  # while the search was called a frontier


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """What a set of folders held: the records, and one sentence per file that was refused.

    ``portability``: the tables that `alignmeter kernels` stored there; ``predictions``: what
    `alignmeter plan` did; ``capacity``: the searches of ``suites/bench_capacity.py``;
    ``reported``: what `alignmeter import` read. ``paths``: the file of each record, in their order,
    for all or none: empty where the records come from no folder.
    """

    records: list[Record]
    refused: list[str]
    portability: list[Portability] = field(default_factory=list)
    predictions: list[Prediction] = field(default_factory=list)
    capacity: list[CapacityPoint] = field(default_factory=list)
    reported: list[ReportedSet] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether a page would show nothing."""
        beside = self.portability, self.predictions, self.capacity, self.reported
        return not (self.records or any(beside))

    def path_of(self) -> dict[int, Path]:
        """``id`` of a record -> its file. Raises `ValueError` where some have one and some not."""
        if not self.paths:
            return {}
        return {id(r): path for r, path in zip(self.records, self.paths, strict=True)}


def no_records(folders: Iterable[Path]) -> InputError:
    """The error that says so."""
    return InputError(f"no records in {', '.join(map(str, folders))}; {_FOLDER_WANTED}")


def default_folder() -> Path:
    """``results/<date-time>`` below the working folder, in local time."""
    return Path("results") / datetime.now().astimezone().strftime("%Y-%m-%d-%H%M%S")


def write_run_file(folder: Path, matrix: str, axes: Mapping[str, object], command: str) -> str:
    """``DIR/run.json``: what was asked for, where; returns the run's name for its records.

    A run that goes on in its folder keeps its name. Raises `InputError` if it cannot be written.
    """
    path = folder / RUN_FILE
    content = {
        "schema_version": 1,
        "run": _run_there(path) or uuid.uuid4().hex[:12],
        "matrix": matrix,
        "axes": dict(axes),
        "command": command,
        "host": platform.node(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_bytes(path, json.dumps(content, indent=1).encode() + b"\n")
    return str(content["run"])


def _run_there(path: Path) -> str:
    """The name in a run file; empty where there is none, or one that names none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_RunName).run
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""


class _RunName(msgspec.Struct):
    run: str = ""


def record_path(folder: Path, cell_id: str, replicate: int) -> Path:
    """``DIR/<cell-id>.r<k>.json``."""
    return folder / f"{cell_id}.r{replicate}.json"


def write_bytes(path: Path, data: bytes) -> None:
    """Write through a temporary file, fsync, rename, fsync of the folder.

    Raises `InputError` if the folder cannot be made or written.
    """
    _write_together(path.parent, {path.name: data})


def not_written(path: Path, error: OSError) -> InputError:
    """The error that says so, in words for who chose the path."""
    why = str(error.strerror or error)
    if isinstance(error, FileExistsError | NotADirectoryError):
        why = "there is a file where a folder is wanted; give another name"
    elif isinstance(error, IsADirectoryError):
        why = "there is a folder of that name; give another one"
    return InputError(f"{path}: cannot be written: {why}")


def check_writable(path: Path) -> None:
    """Before work whose result goes to ``path``: raise `InputError` if `write_bytes` could not."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
    except OSError as error:
        raise not_written(path, error) from error
    finally:
        with contextlib.suppress(OSError):  # never made
            partial.unlink()
    if path.is_dir():
        raise not_written(path, IsADirectoryError())


def _write_together(folder: Path, files: Mapping[str, bytes]) -> None:
    """The same for several: all are on the disk before the first is renamed, in their order."""
    path = folder
    partials = {name: folder / f".{name}.{os.getpid()}.partial" for name in files}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            path = folder / name
            with partials[name].open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for name, partial in partials.items():
            partial.replace(folder / name)
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise not_written(path, error) from error
    finally:
        for partial in partials.values():
            with contextlib.suppress(OSError):  # renamed, or never made
                partial.unlink()


def timeline_path(record: Path) -> Path:
    """The timeline beside a record's file: ``<cell-id>.r<k>.timeline.csv.gz``."""
    return record.with_name(f"{record.name.removesuffix('.json')}.timeline.csv.gz")


def write_record(folder: Path, record: Record, timeline: Timeline | None = None) -> Path:
    """Store one record; returns its path. An earlier record of the same replicate is replaced.

    The timeline comes first: a record that is there is complete. Raises `InputError` if the folder
    cannot be written; what was there is then unchanged.
    """
    path = record_path(folder, record.cell.id, record.replicate)
    beside = timeline_path(path)
    data = encode_record(record)
    if timeline is not None:
        _write_together(folder, {beside.name: encode_timeline(timeline), path.name: data})
        return path
    write_bytes(path, data)
    with contextlib.suppress(OSError):  # mostly there is none
        beside.unlink()
    return path


def load_folders(folders: Iterable[Path]) -> Loaded:
    """All records below ``folders``; a bad file or folder is refused by name, the rest is read.

    A file ``kernels.json`` is read as a portability table, ``plan.json`` as plans,
    ``capacity.json`` as searches, ``reported.json`` as results of others. Copies are read once:
    those of a record would pass for replicates. A store is read as the folders that were compacted
    into it. Raises `InputError` if a folder does not exist.
    """
    loaded = Loaded(records=[], refused=[])
    seen: set[bytes] = set()
    sharing = Sharing()
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; {_FOLDER_WANTED}")
        found = documents_in(folder, loaded.refused)
        _load(loaded, found, found.paths, seen, sharing)
    return loaded


def load_documents(found: Documents, paths: Iterable[Path]) -> Loaded:
    """The same of some documents of a folder: those of one run."""
    loaded = Loaded(records=[], refused=[])
    _load(loaded, found, paths, set(), Sharing())
    return loaded


@unsearched()
def _load(
    loaded: Loaded, found: Documents, paths: Iterable[Path], seen: set[bytes], sharing: Sharing
) -> None:
    files = sorted(paths, key=lambda path: (path.parent.parts, path.name))
    for _, run in groupby(files, key=lambda path: path.parent):
        first = len(loaded.records)
        for path in run:
            _read(loaded, found, path, seen)
        loaded.records[first:] = map(sharing.record, loaded.records[first:])


def _read(loaded: Loaded, found: Documents, path: Path, seen: set[bytes]) -> None:
    if path.name == RUN_FILE:
        return
    try:
        data = found.read(path)
        known = hashlib.sha256(data).digest()
        if known not in seen:
            add_document(loaded, data, path)
        seen.add(known)
    except InputError as error:
        loaded.refused.append(sentence(str(error)))
    except OSError as error:
        loaded.refused.append(sentence(f"{path}: cannot be read: {error.strerror or error}"))


def read_record(path: Path) -> Record:
    """One record. Raises `InputError` for what is none, and `OSError` if it cannot be read."""
    return decode_record(contents(path), str(path))


def add_document(loaded: Loaded, data: bytes, path: Path) -> None:
    """Add what ``data`` holds, by the name of its file. Raises `InputError` for what is none."""
    if path.name == PLAN_FILE:
        loaded.predictions.extend(decode_predictions(data, str(path)))
    elif path.name == KERNELS_FILE:
        loaded.portability.append(decode_portability(data, str(path)))
    elif path.name == REPORTED_FILE:
        loaded.reported.append(decode_reported(data, str(path)))
    elif path.name in (CAPACITY_FILE, _FORMER_CAPACITY_FILE):
        loaded.capacity.extend(decode_capacity(data, str(path)).points)
    else:
        loaded.records.append(decode_record(data, str(path)))
        loaded.paths.append(path)
