"""From a plan to records: jobs go out as there is room, and what they leave goes out again."""

__all__ = ["Driver", "Ending", "Limits"]

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from alignmeter.lab.chunks import chunk, first_tries, informative_first, tries
from alignmeter.lab.engines.base import QUEUED, Engine
from alignmeter.lab.job import Job, Outcome, Task
from alignmeter.lab.lab_file import Lab
from alignmeter.lab.submission import Night, NightPlan, Sent, SentJob
from alignmeter.text import counted

_MOST_LOST = 3
"""Jobs that may end on one task before it is given up: it is what ends them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """``until``: s since 1970 from which no cell begins. ``budget_s``: of devices, all together."""

    until: float | None = None
    budget_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """What is left of a night. ``failed``: key of a task -> why it has no record.

    ``not_reached``: keys that nobody has begun, by class. ``refusals``: sentences of nodes, each
    once. ``why``: the limit that ended it, if one did.
    """

    failed: dict[str, str]
    not_reached: dict[str, list[str]]
    refusals: list[str]
    why: str = ""

    @property
    def complete(self) -> bool:
        """Whether each task has its record."""
        return not self.failed and not any(self.not_reached.values())


@dataclass(kw_only=True, slots=True)
class _Backlog:
    """Tasks of one class by key, in the order in which they are wanted.

    ``unsent``: jobs of which nobody has noted that an engine took them.
    """

    tasks: dict[str, Task]
    unsent: list[SentJob] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    out: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)

    def pending(self) -> list[Task]:
        """Those that no job has."""
        kept = self.done | self.out | self.failed.keys()
        return [task for key, task in self.tasks.items() if key not in kept]


class Driver:
    """Drives one night on one engine. Who calls it holds the night's lock."""

    def __init__(
        self, night: Night, lab: Lab, plan: NightPlan, engine: Engine, limits: Limits,
        tell: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._night, self._lab, self._plan = night, lab, plan
        self._engine, self._limits, self._tell = engine, limits, tell
        self._jobs: dict[str, SentJob] = {}
        self._spent_s = 0.0
        self._refusals: list[str] = []
        self._backlogs = {name: self._backlog(name) for name in plan.classes}
        self._take_up()

    def _backlog(self, name: str) -> _Backlog:
        found = self._plan.classes[name]
        tasks = first_tries(found.cells, self._plan.replicates, found.settings.seed)
        ordered = informative_first(tasks, self._night.measured_before(name))
        return _Backlog(tasks={task.key: task for task in ordered})

    def _take_up(self) -> None:
        """What earlier runs left: records, jobs that still run, and the time that all took."""
        for name, backlog in self._backlogs.items():
            for first in list(backlog.tasks.values()):
                self._note_tries(name, first)
        made = list(self._night.jobs())
        earlier = [job for job in made if job.sent is not None]
        mine = {j.sent.handle: j for j in earlier if j.sent and j.sent.engine == self._engine.name}
        active = self._engine.active(mine.keys())
        for job in earlier:
            handle = job.sent.handle if job.sent else ""
            if handle in active and job.job.node_class in self._backlogs:
                self._jobs[handle] = job
                self._backlogs[job.job.node_class].out |= {task.key for task in job.job.tasks}
            else:
                self._spent_s += _seconds(job)
        for job in made:
            if job.sent is None and job.job.node_class in self._backlogs:
                self._take_up_unsent(job.job)

    def _take_up_unsent(self, job: Job) -> None:
        """Who made it was killed before or after an engine took it: it keeps its name, by which an
        engine whose jobs go on can tell.
        """
        backlog = self._backlogs[job.node_class]
        pending = {task.key for task in backlog.pending()}
        tasks = [task for task in job.tasks if task.key in pending]
        if tasks:
            backlog.unsent.append(self._made(job.node_class, tasks, job.name))
            backlog.out |= {task.key for task in tasks}

    def _note_tries(self, name: str, first: Task) -> None:
        """Which records are there from that try on; the one that is to follow is a task now."""
        backlog, record_of = self._backlogs[name], partial(self._night.record, name)
        for task, record in tries(first, record_of, self._plan.replicates, self._plan.retries):
            backlog.tasks.setdefault(task.key, task)
            if record is not None:
                backlog.done.add(task.key)

    def drive(self, *, wait: bool = True) -> Ending:
        """Until each task has its record or cannot have one, or a limit is reached.

        Without ``wait`` it returns when all jobs are handed over. Raises `InputError` where the
        engine refuses a job, and whatever ends it otherwise ends the jobs that do not outlive it.
        """
        try:
            return self._loop(wait=wait)
        except BaseException:
            if not self._engine.outlives:
                self._engine.cancel(list(self._jobs))
            raise

    def _loop(self, *, wait: bool) -> Ending:
        while True:
            active = self._engine.active(list(self._jobs))
            for handle in [h for h in self._jobs if h not in active]:
                self._settle(handle)
            why, at_once = self._over()
            if why:
                self._end(at_once=at_once)
            else:
                self._submit()
            if not self._jobs or not wait:
                return self._ending(why)
            time.sleep(self._engine.poll_s)

    def _over(self) -> tuple[str, bool]:
        """Which limit is reached, nothing where none is; whether it ends what is being measured."""
        limits, now = self._limits, time.time()
        if self._night.cancelled:
            return "cancelled", True
        if limits.until is not None and now >= limits.until:
            return "the time was over", False
        if limits.budget_s is not None and self._spent_s + self._running_s(now) >= limits.budget_s:
            return "the budget was spent", True
        return "", False

    def _running_s(self, now: float) -> float:
        jobs = (self._night.job(job.path) for job in self._jobs.values())
        begun = ((job.job.devices, job.outcome) for job in jobs)
        return sum(devices * (now - found.began) for devices, found in begun if found is not None)

    def _end(self, *, at_once: bool) -> None:
        """End the jobs that have not begun; ``at_once``: all of them."""
        states = self._engine.active(list(self._jobs))
        ended = [h for h in self._jobs if at_once or states.get(h) == QUEUED]
        if ended:
            self._engine.cancel(ended)
        for handle in ended:
            self._night.note_ended(self._jobs[handle].path)
            self._settle(handle, ours=True)

    def _settle(self, handle: str, *, ours: bool = False) -> None:
        """A job ended; ``ours``: by us, so that no task of it is to blame."""
        sent = self._night.job(self._jobs.pop(handle).path)
        name, outcome = sent.job.node_class, sent.outcome
        backlog, there = self._backlogs[name], self._night.recorded(name)
        left = []
        for task in sent.job.tasks:
            backlog.out.discard(task.key)
            if task.key in there:
                self._note_tries(name, task)
            elif outcome is not None and task.key in outcome.failed:
                backlog.failed[task.key] = outcome.failed[task.key]
            else:
                left.append(task)
        self._spent_s += _seconds(sent)
        if outcome is not None and outcome.refused:
            self._engine.avoid(handle, outcome)
            self._refusals += [f"{outcome.host} ({name}): {text}" for text in outcome.refused]
        elif left and not ours and not self._excused(handle, outcome):
            self._blame(backlog, left[0], sent)
        host = "" if outcome is None else f" on {outcome.host}"
        records = counted(len(sent.job.tasks) - len(left), "record")
        self._tell(f"{sent.job.name}{host}: {records} of {len(sent.job.tasks)}")

    def _excused(self, handle: str, outcome: Outcome | None) -> bool:
        return self._engine.unplaced(handle) if outcome is None else outcome.stopped

    def _blame(self, backlog: _Backlog, task: Task, sent: SentJob) -> None:
        backlog.lost[task.key] += 1
        if backlog.lost[task.key] >= _MOST_LOST:
            log = sent.path.with_suffix(".log")
            backlog.failed[task.key] = (
                f"{_MOST_LOST} jobs ended before its record was there; the last one's words are in "
                f"{log}"
            )

    def _submit(self) -> None:
        for name in self._backlogs:
            while jobs := self._batch(name):
                sent = dict(zip(self._engine.submit(name, jobs), jobs, strict=True))
                self._jobs |= sent
                for handle, job in sent.items():
                    note = Sent(engine=self._engine.name, handle=handle)
                    self._night.note_sent(job.path, note)

    def _batch(self, name: str) -> list[SentJob]:
        """Jobs of one number of devices, as many as there is room for now."""
        backlog, most = self._backlogs[name], self._lab.classes[name].chunk
        if backlog.unsent:
            return self._again(name, backlog)
        pending, jobs = backlog.pending(), list[SentJob]()
        while tasks := chunk(pending, most):
            devices = tasks[0].cell.world_size
            like_others = not jobs or devices == jobs[0].job.devices
            if not like_others or len(jobs) >= self._engine.room(name, devices):
                break
            jobs.append(self._made(name, tasks))
            taken = {task.key for task in tasks}
            backlog.out |= taken
            pending = [task for task in pending if task.key not in taken]
        return jobs

    def _again(self, name: str, backlog: _Backlog) -> list[SentJob]:
        devices = backlog.unsent[0].job.devices
        like = [job for job in backlog.unsent if job.job.devices == devices]
        jobs = like[: self._engine.room(name, devices)]
        backlog.unsent = [job for job in backlog.unsent if job not in jobs]
        return jobs

    def _made(self, name: str, tasks: Sequence[Task], job_name: str | None = None) -> SentJob:
        found, chosen = self._plan.classes[name], self._lab.classes[name]
        job = Job(
            name=job_name or self._night.next_name(name),
            node_class=name,
            accelerator=chosen.accelerator,
            chip=chosen.chip,
            requires=chosen.requires,
            run=self._plan.run,
            out=str(self._night.records(name).resolve()),
            folder=found.folder,
            settings=found.settings,
            tasks=list(tasks),
            until=self._limits.until,
        )
        return SentJob(path=self._night.add(job), job=job, sent=None, outcome=None)

    def _ending(self, why: str) -> Ending:
        return Ending(
            failed={k: text for b in self._backlogs.values() for k, text in b.failed.items()},
            not_reached={
                name: [task.key for task in backlog.pending()] + sorted(backlog.out)
                for name, backlog in self._backlogs.items()
            },
            refusals=list(dict.fromkeys(self._refusals)),
            why=why,
        )


def _seconds(sent: SentJob) -> float:
    """Of devices, that a job which ended has taken."""
    if sent.outcome is None:
        return 0.0
    end = sent.outcome.ended or sent.outcome.seen
    return sent.job.devices * (end - sent.outcome.began)
