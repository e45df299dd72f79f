"""A job: cells and replicates that one process measures on one node, as a file of JSON."""

__all__ = [
    "NODE_VARIABLE",
    "Job",
    "Outcome",
    "Task",
    "outcome_path",
    "read_job",
    "read_outcome",
    "write_document",
]

from pathlib import Path

import msgspec

from alignmeter.cells.cell import Cell
from alignmeter.cells.settings import DEFAULTS, Settings
from alignmeter.errors import InputError
from alignmeter.records.document import decode_versioned, encode_document
from alignmeter.records.folder import record_path, write_bytes

_VERSION = 1
NODE_VARIABLE = "ALIGNMETER_NODE"
"""By which an engine tells a job what it calls its node, if not by the host's name."""


class Task(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One replicate of one cell."""

    cell: Cell
    replicate: int

    @property
    def key(self) -> str:
        """Stem of its record's file."""
        return record_path(Path(), self.cell.id, self.replicate).stem


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``name``: of its file. ``node_class``, ``accelerator``, ``chip``, ``requires``: as of the
    class in LAB.toml. ``run``: what its records name as theirs; ``out``: their folder. ``folder``:
    of the matrix, which paths of cells are relative to. ``until``: seconds since 1970 from which
    no cell begins.
    """

    name: str
    node_class: str
    accelerator: str
    run: str
    out: str
    folder: str
    tasks: list[Task]
    settings: Settings = DEFAULTS
    chip: str | None = None
    requires: list[str] = []
    until: float | None = None
    schema_version: int = _VERSION

    @property
    def devices(self) -> int:
        """That it needs at once."""
        return max((task.cell.world_size for task in self.tasks), default=1)


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a job's own process says of it.

    ``began``, ``seen``, ``ended``: s since 1970; ``seen`` is when it last finished a cell;
    ``ended`` is ``None`` while it runs, and for ever where it was killed by another than the night
    that it is of.

    ``refused``: a sentence for each check of the node that failed: it measured nothing. ``failed``:
    key of a task -> why it can have no record there. ``stopped``: cells were left for lack of time.
    """

    host: str
    pid: int
    began: float
    seen: float
    ended: float | None = None
    refused: list[str] = []
    failed: dict[str, str] = {}
    stopped: bool = False
    schema_version: int = _VERSION


_JOBS = msgspec.json.Decoder(Job)
_OUTCOMES = msgspec.json.Decoder(Outcome)


def read_job(path: Path) -> Job:
    """The job of a file. Raises `InputError` for what is none, or cannot be read."""
    return decode_versioned(_bytes(path), _JOBS, _VERSION, str(path), "a job of alignmeter lab")


def read_outcome(path: Path) -> Outcome | None:
    """What its process said; ``None`` where it has not begun.

    Raises `InputError` for a file that is none.
    """
    if not path.is_file():
        return None
    return decode_versioned(_bytes(path), _OUTCOMES, _VERSION, str(path), "the outcome of a job")


def outcome_path(job: Path) -> Path:
    """Where the process of the job in that file says what became of it."""
    return job.with_suffix(".outcome")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def write_document(path: Path, document: msgspec.Struct) -> None:
    """Write it whole or not at all. Raises `InputError` if it cannot be written."""
    write_bytes(path, encode_document(document))
