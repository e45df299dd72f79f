"""One replicate: a worker driven from build to record, whatever happens to it."""

__all__ = ["Replicate", "Settings", "measure"]

import time
from dataclasses import dataclass, field
from typing import Any

from alignmeter.accelerators import missing_text, open_accelerator
from alignmeter.errors import CellError
from alignmeter.provenance import collect
from alignmeter.record import Energy, Provenance, Reason, Record
from alignmeter.session.agreement import checked_cell, sliced_layers
from alignmeter.session.assemble import Findings, assemble
from alignmeter.session.launcher import Launcher, Worker
from alignmeter.session.ledger import MemoryProfile
from alignmeter.session.references import obtain_reference
from alignmeter.session.resolve import Planned
from alignmeter.session.workload import StepReport


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How to measure. ``timeout_s`` bounds one replicate; every replicate has the same ``seed``.

    ``operators``: profile one more step, after the memory step.
    """

    steps: int = 5
    warmup: int = 2
    seed: int = 0
    timeout_s: float = 600.0
    operators: bool = False


@dataclass(kw_only=True)
class Replicate:
    """Drive one worker: `start`, `step` as often as wanted, then `finish` for the record.

    `start` and `step` raise `CellError`; `finish` turns what happened into a record and never
    raises for the cell's sake. The pytest suite, `cell` and `run` all go through here.
    """

    planned: Planned
    index: int
    settings: Settings
    launcher: Launcher
    _found: Findings = field(init=False)
    _worker: Worker | None = field(init=False, default=None)
    _deadline: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._found = Findings(
            cell=self.planned.cell, replicate=self.index, seed=self.settings.seed
        )

    def start(self) -> None:
        """Worker, models, agreement check, warm-up, memory step; no timed step yet."""
        with self._noting_failure():
            if self.planned.unsupported is not None:
                reason = self.planned.unsupported
                raise CellError("unsupported", reason.code, reason.text)
            cell, seed = self.planned.cell, self.settings.seed
            self._found.reference, self._found.unchecked = obtain_reference(
                cell, seed=seed, launcher=self.launcher, timeout_s=self.settings.timeout_s
            )
            self._deadline = time.monotonic() + self.settings.timeout_s
            self._worker = self.launcher.start()
            self._found.worker_start_s = self._worker.start_s
            self._call("open", cell, seed, self.index)
            self._found.provenance = self._call("provenance")
            self._build_and_check()
            for _ in range(self.settings.warmup):
                self._found.warmup.append(self._call("step"))
            profile: MemoryProfile = self._call("memory_step")
            self._found.profile = profile
            if self.settings.operators:
                self._found.operator_s = self._call("operator_step")
            self._call("begin_timed")

    def _build_and_check(self) -> None:
        found, cell = self._found, self.planned.cell
        layers, checked = sliced_layers(cell), checked_cell(cell)
        whole = layers is None and checked == cell
        replay = [] if found.reference is None else found.reference.rollouts
        if not whole:
            found.observed = self._call("sliced_agreement", layers, replay)
        found.build_s = self._call("build")
        found.prepared = self._call("prepare")
        if whole:
            found.observed = self._call("agreement", replay)
        found.layers = layers
        found.seq_len = None if checked == cell else checked.seq_len

    def step(self) -> StepReport:
        """One timed step."""
        with self._noting_failure():
            report: StepReport = self._call("step")
            self._found.steps.append(report)
        return report

    def finish(self) -> Record:
        """Energy window, end of the worker, record."""
        if self._found.failure is None and self._worker is not None:
            try:
                with self._noting_failure():
                    found = self._found
                    found.reserved_peak_bytes, found.rss_peak_bytes = self._call("peaks")
                    energy: Energy = self._call("energy_window")
                    found.energy = energy
                    provenance: Provenance = self._call("provenance")
                    found.load_after = provenance.load_after
                    found.kernel_path = provenance.kernel_path
            except CellError:
                pass  # noted: the record says so
        self.close()
        if self._found.provenance is None:
            self._found.provenance = _provenance_without_worker(self.planned)
        return assemble(self._found)

    def close(self) -> None:
        """End the worker, if there is one."""
        if self._worker is not None:
            if self._found.failure is None:
                self._worker.close()
            else:
                self._worker.kill()
            self._worker = None

    def _call(self, verb: str, *arguments: object) -> Any:
        if self._worker is None:
            raise CellError("crashed", "worker_died", "no worker: the replicate was not started")
        left = self._deadline - time.monotonic()
        return self._worker.call(verb, *arguments, timeout_s=left)

    def _noting_failure(self) -> "_Noting":
        return _Noting(self._found, self.settings.timeout_s)


class _Noting:
    """Keeps the `CellError` that passes through it for the record."""

    def __init__(self, found: Findings, timeout_s: float) -> None:
        self._found, self._timeout_s = found, timeout_s

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, CellError):
            text = error.text
            if error.status == "timeout":
                text += f" of {self._timeout_s:g} s; raise it with --timeout"
            self._found.failure = error.status, Reason(code=error.code, text=text)


def _provenance_without_worker(planned: Planned) -> Provenance:
    name = planned.cell.accelerator
    return collect(open_accelerator("cpu" if missing_text(name) else name), None)


def measure(planned: Planned, index: int, settings: Settings, launcher: Launcher) -> Record:
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
