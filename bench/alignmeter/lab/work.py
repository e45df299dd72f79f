"""What a job does on its node: checks, then its cells one by one, each record written at once."""

__all__ = ["work"]

import os
import platform
import time
from pathlib import Path

import msgspec

from alignmeter.errors import InputError
from alignmeter.lab.job import (
    NODE_VARIABLE,
    Job,
    Outcome,
    Task,
    outcome_path,
    read_job,
    write_document,
)
from alignmeter.lab.preflight import unmet
from alignmeter.records.folder import check_writable, record_path, write_record
from alignmeter.session import measure
from alignmeter.session.asked import resolve_as
from alignmeter.session.launcher import Launcher
from alignmeter.session.nodes import open_nodes
from alignmeter.session.run import Job as Replicate
from alignmeter.session.run import stored_record
from alignmeter.text import sentence


def work(path: Path) -> Outcome:
    """Measure what the job at ``path`` wants and its folder does not have yet.

    One forkserver serves all replicates of a number. What becomes of the job stands beside it, in
    ``NAME.outcome``. Raises `InputError` for what is no job, and where nothing can be written.
    """
    job = read_job(path)
    log = _Log(outcome_path(path))
    check_writable(record_path(Path(job.out), job.tasks[0].cell.id, 0))
    refused = unmet([job.accelerator], job.requires, folder=Path(job.out), chip=job.chip)
    if refused:
        return log.write(refused=refused, ended=time.time())
    with open_nodes() as others, Launcher(others) as launcher:
        for task in job.tasks:
            if job.until is not None and time.time() >= job.until:
                return log.write(stopped=True, ended=time.time())
            try:
                _measure(job, task, launcher)
            except InputError as error:
                log.failed[task.key] = sentence(str(error))
            log.write()
    return log.write(ended=time.time())


class _Log:
    """The job's outcome so far, written whole after each cell."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.failed: dict[str, str] = {}
        now = time.time()
        host = os.environ.get(NODE_VARIABLE) or platform.node()
        self._outcome = Outcome(host=host, pid=os.getpid(), began=now, seen=now)
        self.write()

    def write(self, **found: object) -> Outcome:
        known = {"seen": time.time(), "failed": dict(self.failed), **found}
        self._outcome = msgspec.structs.replace(self._outcome, **known)
        write_document(self._path, self._outcome)
        return self._outcome


def _measure(job: Job, task: Task, launcher: Launcher) -> None:
    """Unless its record is there. Raises `InputError` where its files make another cell here."""
    planned = resolve_as(task.cell, f"job {job.name}", Path(job.folder))
    out = Path(job.out)
    replicate = Replicate(planned=planned, replicate=task.replicate)
    if stored_record(out, replicate, job.settings, retry_invalid=False) is not None:
        return
    launcher.begin_round(task.replicate)
    finished = measure(planned, task.replicate, job.settings, launcher).of_run(job.run)
    write_record(out, finished.record, finished.timeline)
