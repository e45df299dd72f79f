"""How far a night is: what is there, what runs where, what failed and why, and when it may end."""

__all__ = ["ClassStatus", "Failure", "Running", "status_of"]

import statistics
from collections.abc import Collection, Mapping
from functools import partial
from itertools import chain
from pathlib import Path

import msgspec

from alignmeter.lab.chunks import first_tries, tries
from alignmeter.lab.engines.base import ENDED, RUNNING
from alignmeter.lab.planned import ClassPlan
from alignmeter.lab.submission import Night, NightPlan, SentJob
from alignmeter.records.record import Record
from alignmeter.text import counted


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A job that an engine has. ``host``: empty until it begins; ``done`` of ``wanted`` records."""

    job: str
    state: str
    host: str
    done: int
    wanted: int


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A replicate without figures, or a node that was refused.

    ``what``: stem of a record, or a host.
    """

    what: str
    why: str


class ClassStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One class. ``wanted``: replicates, second tries among them; ``recorded``: of these that have
    a record, ``ok`` with figures, ``again`` in the place of one that is temporarily invalid.

    ``left_out``: cells that no machine measures. ``seconds_left``: of the jobs that are out, by
    what its replicates took so far; ``None`` where nothing tells.
    """

    name: str
    wanted: int
    recorded: int
    ok: int
    again: int
    left_out: int
    jobs: list[Running]
    failures: list[Failure]
    seconds_left: float | None


def status_of(
    night: Night, plans: Mapping[str, NightPlan], states: Mapping[str, str]
) -> list[ClassStatus]:
    """Each class of the plans. ``states``: handle -> state, as engines tell of all that are out;
    `ENDED` of those that they were asked for and have no longer.

    Raises `InputError` for a file of the night that is none.
    """
    sent = [job for job in night.jobs() if job.sent is not None]
    return [
        _class(night, plan, name, [j for j in sent if j.job.node_class == name], states)
        for name, plan in plans.items()
    ]


def _class(
    night: Night, plan: NightPlan, name: str, sent: list[SentJob], states: Mapping[str, str]
) -> ClassStatus:
    found = plan.classes[name]
    records, wanted = _records(night, plan, name, found)
    known = [(job, states.get(job.sent.handle)) for job in sent if job.sent is not None]
    active = [(job, state) for job, state in known if state not in (None, ENDED)]
    jobs = [_running(job, str(state), set(records)) for job, state in active]
    out = {task.key for job, _ in active for task in job.job.tasks}
    ended = [job for job, state in known if state == ENDED]
    ok = [record for record in records.values() if record is not None and record.status == "ok"]
    return ClassStatus(
        name=name,
        wanted=wanted,
        recorded=len(records),
        ok=len(ok),
        again=wanted - len(found.cells) * plan.replicates,
        left_out=len(found.left_out),
        jobs=jobs,
        failures=[
            *_failures(records),
            *chain.from_iterable(_refusals(job) for job in sent),
            *_lost(ended, records.keys() | out),
        ],
        seconds_left=_seconds_left(sent, jobs, wanted - len(records), set(records)),
    )


def _records(
    night: Night, plan: NightPlan, name: str, found: ClassPlan
) -> tuple[dict[str, Record], int]:
    """Stem -> record, and how many are wanted."""
    records, wanted = {}, 0
    record_of = partial(night.record, name)
    for first in first_tries(found.cells, plan.replicates, found.settings.seed):
        for task, record in tries(first, record_of, plan.replicates, plan.retries):
            wanted += 1
            if record is not None:
                records[task.key] = record
    return records, wanted


def _running(sent: SentJob, state: str, records: set[str]) -> Running:
    return Running(
        job=sent.job.name,
        state=state,
        host=sent.outcome.host if sent.outcome is not None else "",
        done=sum(task.key in records for task in sent.job.tasks),
        wanted=len(sent.job.tasks),
    )


def _failures(records: Mapping[str, Record]) -> list[Failure]:
    return [
        Failure(what=key, why=f"{r.status}: {r.reason.text if r.reason else 'no reason is given'}")
        for key, r in records.items()
        if r.status != "ok"
    ]


def _refusals(sent: SentJob) -> list[Failure]:
    if sent.outcome is None:
        return []
    host = sent.outcome.host
    failed = [Failure(what=key, why=text) for key, text in sent.outcome.failed.items()]
    return failed + [Failure(what=host, why=text) for text in sent.outcome.refused]


def _lost(ended: list[SentJob], kept: Collection[str]) -> list[Failure]:
    """What jobs that did not come to their end were at, unless it is ``kept``: there or out again.

    A job measures its tasks one by one, so it was the first that has no record. Without a log it
    never began, and was at none.
    """
    last: dict[str, tuple[int, SentJob]] = {}
    for job in ended:
        left = [task.key for task in job.job.tasks if task.key not in kept]
        stopped_short = job.outcome is None or job.outcome.ended is None
        if left and stopped_short and _log(job).exists():
            last[left[0]] = last.get(left[0], (0, job))[0] + 1, job
    return [
        Failure(
            what=key,
            why=f"{counted(count, 'job')} ended before its record was there; the last one's words "
            f"are in {_log(job)}",
        )
        for key, (count, job) in last.items()
    ]


def _log(job: SentJob) -> Path:
    return job.path.with_suffix(".log")


def _seconds_left(
    sent: list[SentJob], jobs: list[Running], tasks: int, records: set[str]
) -> float | None:
    """As many jobs at once as there are now."""
    took = []
    for job in sent:
        done = sum(task.key in records for task in job.job.tasks)
        if job.outcome is not None and done:
            took.append(((job.outcome.ended or job.outcome.seen) - job.outcome.began) / done)
    at_once = sum(job.state == RUNNING for job in jobs)
    if not tasks:
        return 0.0
    return statistics.median(took) * tasks / at_once if took and at_once else None
