"""A whole matrix: rounds over all cells, each record stored as soon as it is there."""

__all__ = ["Job", "Listener", "rounds", "run_matrix", "stored_record"]

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from alignmeter.accelerators import device_or_host
from alignmeter.accelerators.cpu import host_threads
from alignmeter.accelerators.provenance import environment_digest_here, source_commit
from alignmeter.cells.cell import Cell
from alignmeter.cells.settings import Settings
from alignmeter.errors import InputError
from alignmeter.records.folder import read_record, record_path, write_record
from alignmeter.records.record import Record
from alignmeter.records.temporary import temporarily_invalid
from alignmeter.session.launcher import Launcher
from alignmeter.session.replicate import measure
from alignmeter.session.resolve import Planned


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One replicate to do."""

    planned: Planned
    replicate: int


class Listener(Protocol):
    """Who wants to know how the run goes."""

    def expects(self, count: int) -> None:
        """So many jobs are to be measured: neither there already nor known to be in vain."""
        ...

    def begins(self, job: Job) -> None:
        """``job`` starts now."""
        ...

    def ends(self, job: Job, record: Record, *, resumed: bool) -> None:
        """``job`` has its record; ``resumed`` if it was there already."""
        ...


def rounds(plan: Sequence[Planned], replicates: int, seed: int) -> list[list[Job]]:
    """Round k holds replicate k of every cell, in an order shuffled by the seed and k."""
    result = []
    for k in range(replicates):
        jobs = [Job(planned=planned, replicate=k) for planned in plan]
        random.Random(f"{seed}.{k}").shuffle(jobs)  # noqa: S311 - an order, not a secret
        result.append(jobs)
    return result


def run_matrix(
    plan: Sequence[Planned],
    folder: Path,
    settings: Settings,
    *,
    replicates: int,
    launcher: Launcher,
    listener: Listener,
    run: str = "",
    retry_invalid: bool = True,
) -> list[Record]:
    """Measure what is not in ``folder`` yet; returns all records in the order they came.

    ``run``: what the records are to name as theirs. ``retry_invalid``: also what is there, but with
    a figure that is invalid for a reason that passes, such as a busy host.

    Raises `InputError` if the folder cannot be written. On any exception what was finished is
    stored, and a second call resumes there.
    """
    records = []
    turns = rounds(plan, replicates, settings.seed)
    stored = {
        job: stored_record(folder, job, settings, retry_invalid=retry_invalid)
        for jobs in turns
        for job in jobs
    }
    listener.expects(sum(job.planned.measurable for job, there in stored.items() if not there))
    for number, jobs in enumerate(turns):
        for job in jobs:
            done = stored[job]
            if done is None:
                listener.begins(job)
                launcher.begin_round(number)
                finished = measure(job.planned, job.replicate, settings, launcher).of_run(run)
                record = finished.record
                write_record(folder, record, finished.timeline)
            else:
                record = done
            listener.ends(job, record, resumed=done is not None)
            records.append(record)
    return records


def stored_record(
    folder: Path, job: Job, settings: Settings, *, retry_invalid: bool = True
) -> Record | None:
    """The record of an earlier run that still stands: same cell, commit, environment and seed.

    Where its files lie is no part of a cell: a run may go on from another folder.
    ``retry_invalid``: as in `run_matrix`.
    """
    path = record_path(folder, job.planned.cell.id, job.replicate)
    try:
        record = read_record(path)
    except (OSError, InputError):
        return None
    if retry_invalid and temporarily_invalid(record):
        return None
    same = (
        record.status in ("ok", "unsupported")
        and record.cell.without() == job.planned.cell.without()
        and record.seed == settings.seed
        and len(record.timing.step_s) in (0, settings.steps)
        and (not settings.operators or record.status != "ok" or bool(record.timing.operator_s))
        and record.provenance.commit == source_commit()
        and record.provenance.environment_digest == _environment(job.planned.cell, record)
    )
    return record if same else None


def _environment(cell: Cell, record: Record) -> str:
    threads = host_threads() if record.provenance.threads is not None else None
    return environment_digest_here(device_or_host(cell.accelerator), threads)
