"""One replicate: a worker driven from build to record, whatever happens to it."""

__all__ = ["Finished", "Replicate", "measure"]

import time
from dataclasses import dataclass, field
from typing import Any

import msgspec

from alignmeter.accelerators import device_or_host
from alignmeter.accelerators.provenance import collect
from alignmeter.batches import data_counts, share_rows
from alignmeter.cells.settings import Settings
from alignmeter.errors import CellError, InputError
from alignmeter.records.reasons import Code
from alignmeter.records.record import Provenance, Reason, Record
from alignmeter.records.timeline import Timeline
from alignmeter.session.ceilings import obtain_ceilings
from alignmeter.session.crew import Crew
from alignmeter.session.findings.assemble import assemble
from alignmeter.session.findings.found import Findings
from alignmeter.session.findings.numerics import blame_failure
from alignmeter.session.findings.ranks import ranks_of
from alignmeter.session.findings.warmup import MOST_EXTRA, is_settled
from alignmeter.session.launcher import Launcher, Worker
from alignmeter.session.references import obtain_reference
from alignmeter.session.resolve import Planned
from alignmeter.session.sampling import Sampling
from alignmeter.session.time_limit import time_limit_s
from alignmeter.text import encodable
from alignmeter.worker.agreement import checked_cell, sliced_layers
from alignmeter.worker.messages import StepReport


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """A replicate's record, and what its sampler read."""

    record: Record
    timeline: Timeline | None

    def of_run(self, run: str) -> "Finished":
        """The same, its record naming the run that it belongs to; an empty name names none."""
        provenance = msgspec.structs.replace(self.record.provenance, run=encodable(run))
        record = msgspec.structs.replace(self.record, provenance=provenance)
        return Finished(record=record, timeline=self.timeline)


@dataclass(kw_only=True)
class Replicate:
    """Drive one worker: `start`, `step` as often as wanted, then `finish` for record and timeline.

    `start` and `step` raise `CellError`; `finish` turns what happened into a record and never
    raises for the cell's sake. The pytest suite, `cell` and `run` all go through here.
    """

    planned: Planned
    index: int
    settings: Settings
    launcher: Launcher
    _found: Findings = field(init=False)
    _worker: Worker | Crew | None = field(init=False, default=None)
    _reference_failure: str | None = field(init=False, default=None)
    _limit_s: float = field(init=False)
    _deadline: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._limit_s = time_limit_s(self.planned.cell, self.settings)
        self._sampling = Sampling(self.settings.sample_hz)
        self._found = Findings(
            cell=self.planned.cell,
            replicate=self.index,
            seed=self.settings.seed,
            sampling=self._sampling,
            predicted_peak_bytes=self.planned.predicted_peak_bytes,
            ranks=ranks_of(self.planned.cell),
        )

    def start(self) -> None:
        """Worker, models, agreement check, warm-up, memory step; no timed step yet."""
        with self._noting_failure():
            if self.planned.unsupported is not None:
                reason = self.planned.unsupported
                raise CellError("unsupported", reason.code, reason.text)
            if self.planned.predicted_oom is not None:
                reason = self.planned.predicted_oom
                raise CellError("predicted_oom", reason.code, reason.text)
            cell, seed = self.planned.cell, self.settings.seed
            obtained = obtain_reference(
                cell, seed=seed, launcher=self.launcher, timeout_s=self._limit_s
            )
            self._found.reference, self._found.unchecked = obtained.reference, obtained.why
            self._reference_failure = obtained.failure
            self._deadline = time.monotonic() + self._limit_s
            self._worker = self.launcher.start_for(cell, self._found.ranks)
            self._found.worker_start_s = self._worker.start_s
            self._call("open", cell, seed, self.index, share_rows(cell, checked_cell(cell)))
            self._found.provenance = self._call("provenance")
            self._found.target = self._call("telemetry_target")
            self._sampling.start(
                cell.accelerator,
                self._found.target,
                self._worker.pid,
                longest_s=self._limit_s,
            )
            self._build_and_check()
            for _ in range(self.settings.warmup):
                self._found.warmup.append(self._call("step"))
            self._found.profile = self._call("memory_step")
            if self.settings.operators:
                self._found.operator_s = self._call("operator_step")
                if cell.world_size > 1:
                    self._call("communication_step")
            self._settle()
            self._call("begin_timed")

    def _settle(self) -> None:
        """More warm-up, after the memory step: that one is the same step in every replicate."""
        warmup = self._found.warmup
        while self._found.extra_warmup < MOST_EXTRA:
            if is_settled([report.seconds for report in warmup]):
                break
            warmup.append(self._call("step"))
            self._found.extra_warmup += 1
        self._found.swapped_bytes = warmup[-1].swapped_bytes

    def _build_and_check(self) -> None:
        found, cell = self._found, self.planned.cell
        layers, checked = sliced_layers(cell), checked_cell(cell)
        whole = layers is None and checked == cell
        replay = [] if found.reference is None else found.reference.rollouts
        if not whole:
            found.observed = self._call("sliced_agreement", layers, replay)
        found.build_s = self._call("build")
        found.notes = self._call("notes")
        found.prepared = self._call("prepare")
        if whole:
            found.observed = self._call("agreement", replay)
        found.layers = layers
        found.seq_len = None if checked.seq_len == cell.seq_len else checked.seq_len

    def step(self) -> StepReport:
        """One timed step."""
        with self._noting_failure():
            report: StepReport = self._call("step")
            self._found.steps.append(report)
        return report

    def finish(self) -> Finished:
        """Energy window, end of the worker and of the sampler, record."""
        if self._found.failure is None and self._worker is not None:
            try:
                with self._noting_failure():
                    found = self._found
                    found.peaks = self._call("peaks")
                    found.window = self._call("energy_window")
                    provenance: Provenance = self._call("provenance")
                    found.load_after = provenance.load_after
                    found.kernel_path = provenance.kernel_path
            except CellError:
                pass  # noted: the record says so
        self.close()
        self._blame()
        if self._found.provenance is None:
            self._found.provenance = _provenance_without_worker(self.planned)
        elif self._found.failure is None:  # when nothing is left to be disturbed
            self._found.own_ceilings = obtain_ceilings(
                self.planned.cell.accelerator, self._found.provenance, self.launcher
            )
        return Finished(record=assemble(self._found), timeline=self._timeline())

    def _blame(self) -> None:
        """Of steps that could not go on, their numbers being none: what brought that about."""
        found = self._found
        if found.failure is not None and found.failure[1].code == Code.NON_FINITE_LOSS:
            status, reason = found.failure
            reason = blame_failure(
                found.cell, reason, found.observed, found.reference, self._reference_failure,
                found.notes,
            )  # fmt: skip
            found.failure = status, reason

    def cut_short(self, status: str, code: str, text: str) -> Finished:
        """`finish` for a replicate that something outside ended, unless it had failed before."""
        if self._found.failure is None:
            self._found.failure = status, Reason(code=code, text=text)
        return self.finish()

    def _timeline(self) -> Timeline | None:
        found = self._found
        asked = len(found.warmup) - found.extra_warmup
        self._sampling.mark_steps("warmup", [report.spans for report in found.warmup[:asked]])
        self._sampling.mark_steps("settling", [report.spans for report in found.warmup[asked:]])
        self._sampling.mark_steps("timed", [report.spans for report in found.steps])
        if found.window is not None:
            self._sampling.mark_steps("energy_window", found.window.steps)
        return self._sampling.timeline()

    def close(self) -> None:
        """End the worker and the sampler, if they run."""
        if self._worker is not None:
            if self._found.failure is None:
                self._worker.close()
            else:
                self._worker.kill()
            self._worker = None
        self._sampling.stop()

    def _call(self, verb: str, *arguments: object) -> Any:
        if self._worker is None:
            raise CellError("crashed", "worker_died", "no worker: the replicate was not started")
        start = time.monotonic()
        answer = self._worker.call(verb, *arguments, timeout_s=self._deadline - start)
        if verb in _STAGES:
            self._sampling.mark(verb, start, time.monotonic())
        return answer

    def _noting_failure(self) -> "_Noting":
        return _Noting(self._found, self._limit_s)


_STAGES = ("build", "prepare", "agreement", "sliced_agreement", "memory_step", "operator_step")
"""What the timeline marks as a whole; steps are marked with their phases."""


class _Noting:
    """Keeps the `CellError` that passes through it for the record.

    An `InputError` becomes one: what was in order before the run and is of no use now costs its
    cell, not the run.
    """

    def __init__(self, found: Findings, timeout_s: float) -> None:
        self._found, self._timeout_s = found, timeout_s

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, InputError):
            reason = Reason(code=Code.INPUT_UNUSABLE, text=str(error))
            self._found.failure = "crashed", reason
            raise CellError("crashed", reason.code, reason.text) from error
        if isinstance(error, CellError):
            text = error.text
            if error.status == "timeout":
                text += f" of {self._timeout_s:g} s; raise it with --timeout"
            self._found.failure = error.status, Reason(code=error.code, text=text)


def _provenance_without_worker(planned: Planned) -> Provenance:
    found = collect(device_or_host(planned.cell.accelerator), None)
    try:
        counts = data_counts(planned.cell)
    except CellError:  # its tokenizer cannot be used, which is the record's reason
        counts = {}
    return msgspec.structs.replace(found, data=counts)


def measure(planned: Planned, index: int, settings: Settings, launcher: Launcher) -> Finished:
    """One whole replicate."""
    replicate = Replicate(planned=planned, index=index, settings=settings, launcher=launcher)
    try:
        replicate.start()
        for _ in range(settings.steps):
            replicate.step()
    except CellError:
        return replicate.finish()
    except BaseException:
        replicate.close()
        raise
    return replicate.finish()
