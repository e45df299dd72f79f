"""A night's folder: what was planned, which jobs were sent where, which records are there.

All of it is files, each written whole by one process, so that any shell on any machine can ask and
a second run goes on where a killed one ended. None of them ends in ``.json``: below ``CLASS/`` lie
the records, and nothing else is one.

```
NIGHT/CLASS.plan            what was asked for of the class; CLASS.lock/: who drives it now
NIGHT/CLASS/*.json          records
NIGHT/jobs/CLASS-0001.job   a job; .sent: to which engine; .outcome: what its process says; .log;
                            of Slurm also .slurm: what its array is called, and .sh: what that runs
NIGHT/lab.cancelled         somebody wants it to end
```
"""

__all__ = ["Night", "NightPlan", "Sent", "SentJob"]

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from alignmeter.errors import InputError
from alignmeter.lab.job import (
    Job,
    Outcome,
    Task,
    outcome_path,
    read_job,
    read_outcome,
    write_document,
)
from alignmeter.lab.lab_file import JOBS
from alignmeter.lab.planned import ClassPlan
from alignmeter.records.document import decode_versioned
from alignmeter.records.folder import read_record, record_path, write_bytes
from alignmeter.records.lock import locked
from alignmeter.records.record import Record

_VERSION = 1
_SUFFIX = ".job"


class NightPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``lab run`` was asked for. ``lab``: the path of its file."""

    lab: str
    engine: str
    run: str
    replicates: int
    retries: int
    classes: dict[str, ClassPlan]
    schema_version: int = _VERSION


class Sent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``handle``: what the engine calls the job."""

    engine: str
    handle: str
    schema_version: int = _VERSION


@dataclass(frozen=True, kw_only=True, slots=True)
class SentJob:
    """A job, and how far it has come. ``sent``: ``None`` of one that no engine took."""

    path: Path
    job: Job
    sent: Sent | None
    outcome: Outcome | None


_PLANS = msgspec.json.Decoder(NightPlan)
_SENT = msgspec.json.Decoder(Sent)


@contextlib.contextmanager
def _removable(what: str) -> Iterator[None]:
    """Raises `InputError` for a broken file with ``what`` comes of it when it is removed."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{error}; remove it: {what}") from error


class Night:
    """The folder of one night."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._jobs = folder / JOBS
        self._mark = folder / "lab.cancelled"

    def records(self, node_class: str) -> Path:
        """Folder of the records of that class."""
        return self.folder / node_class

    def recorded(self, node_class: str) -> set[str]:
        """Stems of the records that are there."""
        return {path.stem for path in self.records(node_class).glob("*.r*.json")}

    def record(self, node_class: str, task: Task) -> Record | None:
        """Of that replicate, if it is there. Raises `InputError` for a file that is none."""
        path = record_path(self.records(node_class), task.cell.id, task.replicate)
        with _removable("`lab run` measures the replicate again"):
            return read_record(path) if path.exists() else None

    def measured_before(self, node_class: str) -> set[str]:
        """Ids of cells that the class has a record of from another night beside this one."""
        files = self.folder.parent.glob(f"*/{node_class}/*.r*.json")
        return {p.stem.rpartition(".r")[0] for p in files if p.parents[1] != self.folder}

    @contextlib.contextmanager
    def locked(self, node_classes: Iterable[str]) -> Iterator[None]:
        """Drive these classes alone; others may be driven from elsewhere meanwhile.

        Raises `InputError` if another process drives one of them.
        """
        with contextlib.ExitStack() as stack:
            for name in sorted(node_classes):
                stack.enter_context(locked(self.folder / f"{name}.lock"))
            yield

    def write_plan(self, plan: NightPlan) -> None:
        """Store what is asked for, class by class. Raises `InputError` if it cannot be written."""
        for name, found in plan.classes.items():
            of_class = msgspec.structs.replace(plan, classes={name: found})
            write_document(self.folder / f"{name}.plan", of_class)

    def plans(self) -> dict[str, NightPlan]:
        """Class -> what was last asked for of it.

        Raises `InputError` where no ``lab run`` has been, and for a file that is none.
        """
        found: dict[str, NightPlan] = {}
        for path in sorted(self.folder.glob("*.plan")):
            what = "a plan of alignmeter lab"
            with _removable("`lab run` plans again"):
                plan = decode_versioned(path.read_bytes(), _PLANS, _VERSION, str(path), what)
            found |= dict.fromkeys(plan.classes, plan)
        if not found:
            raise InputError(
                f"{self.folder}: no `lab run` has been here; give its LAB.toml and --night"
            )
        return found

    def add(self, job: Job) -> Path:
        """Store a job; its path, absolute. Raises `InputError` if it cannot be written."""
        path = (self._jobs / f"{job.name}{_SUFFIX}").resolve()
        write_document(path, job)
        return path

    def next_name(self, node_class: str) -> str:
        """That no job has yet."""
        there = [p.stem.rpartition("-")[2] for p in self._jobs.glob(f"{node_class}-*{_SUFFIX}")]
        return f"{node_class}-{max(map(int, filter(str.isdigit, there)), default=0) + 1:04d}"

    def note_sent(self, path: Path, sent: Sent) -> None:
        """Store which engine has the job. Raises `InputError` if it cannot be written."""
        write_document(path.with_suffix(".sent"), sent)

    def note_ended(self, path: Path) -> None:
        """A job that was ended from outside: its time is spent, though it cannot say so itself.

        Raises `InputError` if it cannot be written.
        """
        outcome = read_outcome(outcome_path(path))
        if outcome is not None and outcome.ended is None:
            ended = msgspec.structs.replace(outcome, ended=time.time())
            write_document(outcome_path(path), ended)

    def jobs(self) -> Iterator[SentJob]:
        """All that were made, by name. Raises `InputError` for a file that is none."""
        for path in sorted(self._jobs.glob(f"*{_SUFFIX}")):
            yield self.job(path.resolve())

    def job(self, path: Path) -> SentJob:
        """The one in that file, as it is now."""
        note = path.with_suffix(".sent")
        sent = None
        with _removable("`lab run` hands out again what has no record"):
            if note.is_file():
                what = "a note of alignmeter lab"
                sent = decode_versioned(note.read_bytes(), _SENT, _VERSION, str(note), what)
            outcome = read_outcome(outcome_path(path))
            return SentJob(path=path, job=read_job(path), sent=sent, outcome=outcome)

    @property
    def cancelled(self) -> bool:
        """Whether somebody wants it to end."""
        return self._mark.exists()

    def cancel(self) -> None:
        """Ask the process that drives it, wherever it runs, to end it."""
        write_bytes(self._mark, b"")

    def forget_cancel(self) -> None:
        """It begins again."""
        self._mark.unlink(missing_ok=True)
