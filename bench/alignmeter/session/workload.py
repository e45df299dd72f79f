"""A cell being run: what happens inside the worker, without anything about processes."""

__all__ = ["StepReport", "Workload"]

import gc
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from alignmeter.accelerators import open_accelerator
from alignmeter.batches import Batch, open_batches
from alignmeter.cell import Cell
from alignmeter.methods import Outcome, Probe, open_method, open_setup
from alignmeter.methods.base import SilentProbe
from alignmeter.provenance import collect, host_load
from alignmeter.record import Energy, Provenance
from alignmeter.session.agreement import AGREEMENT_STEPS, Observed, checked_cell, observe
from alignmeter.session.energy import measure_energy
from alignmeter.session.ledger import MemoryProfile, profile_step
from alignmeter.session.operators import profile_operators
from alignmeter.session.phases import PhaseClock
from alignmeter.telemetry import open_telemetry
from alignmeter_kernels import paths_run

_STATUS, _CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True, kw_only=True, slots=True)
class StepReport:
    """One step as the parent sees it. Times in s; ``others_share`` is the share of the host's
    cores that other processes used meanwhile.
    """

    seconds: float
    phases: dict[str, float]
    loss: float
    trained_tokens: int
    padded_tokens: int
    generated_tokens: int
    others_share: float


class Workload:
    """The models, data and devices of one cell. Raises `CellError` for data that do not fit."""

    def __init__(self, cell: Cell, seed: int, index: int = 0) -> None:
        """``index`` is the replicate's number; it changes nothing that is measured."""
        self.cell, self.index, self.seed = cell, index, seed
        self.accelerator = open_accelerator(cell.accelerator)
        self.device = self.accelerator.torch_device()
        self.method = open_method(cell.method)
        self.setup = open_setup(cell, self.device, seed=seed)
        self.batches = open_batches(cell, vocab_size=self.setup.vocab_size, seed=seed)
        self.steps_done = 0

    def build(self) -> float:
        """Make models and optimizers; returns the time that took in s."""
        start = time.perf_counter()
        self.step_object = self.method.build(self.setup)
        self.accelerator.synchronise()
        return time.perf_counter() - start

    def prepare(self) -> dict[str, float]:
        """The method's work before its first step: phase -> s."""
        clock = PhaseClock(self.accelerator)
        self.step_object.prepare(self.batches, clock)
        self.accelerator.synchronise()
        return clock.seconds()

    def agreement(self, replay: list[list[list[int]]]) -> Observed:
        """The agreement steps: the first that the models take."""
        self.steps_done += AGREEMENT_STEPS
        return observe(self.step_object, self.batches, self.method, self.device, replay)

    def sliced_agreement(self, layers: int | None, replay: list[list[list[int]]]) -> Observed:
        """The same on backbones cut to ``layers`` and on short sequences, with models of its own.

        It comes before the whole models are built.
        """
        cell = checked_cell(self.cell)
        setup = open_setup(cell, self.device, seed=self.seed, layers=layers)
        batches = open_batches(cell, vocab_size=setup.vocab_size, seed=self.seed)
        step = self.method.build(setup)
        step.prepare(batches, SilentProbe())
        observed = observe(step, batches, self.method, self.device, replay)
        del step
        gc.collect()
        self.accelerator.release()
        return observed

    def _take(self) -> Batch:
        batch = self.batches.take(self.steps_done, self.device, self.method.rows)
        self.steps_done += 1
        return batch

    def step(self) -> StepReport:
        """One timed step on the next batch; synchronised at both edges and nowhere between."""
        batch = self._take()
        clock = PhaseClock(self.accelerator)
        self.accelerator.synchronise()
        busy = _Busy()
        start = time.perf_counter()
        outcome = self.step_object.run(batch, clock)
        self.accelerator.synchronise()
        seconds = time.perf_counter() - start
        return StepReport(
            seconds=seconds,
            phases=clock.seconds(),
            loss=float(outcome.loss),
            trained_tokens=outcome.trained_tokens,
            padded_tokens=outcome.padded_tokens,
            generated_tokens=outcome.generated_tokens,
            others_share=busy.others_share(seconds),
        )

    def memory_step(self) -> MemoryProfile:
        """One untimed step with its ledger."""
        return profile_step(self.step_object, self._take(), self.accelerator, self.device)

    def operator_step(self) -> dict[str, float]:
        """One untimed step: family of operators -> s."""
        return profile_operators(lambda: self.run_once(SilentProbe()), self.device)

    def energy_window(self) -> Energy:
        """Energy per step, or the reason why there is none."""
        return measure_energy(open_telemetry(self.cell.accelerator), self._plain_step)

    def _plain_step(self) -> Outcome:
        return self.run_once(SilentProbe())

    def run_once(self, probe: Probe) -> Outcome:
        """One step that nobody times."""
        outcome = self.step_object.run(self._take(), probe)
        self.accelerator.synchronise()
        return outcome

    def begin_timed(self) -> None:
        """Forget the peaks so far."""
        self.accelerator.peaks(reset=True)
        _reset_rss_peak()

    def peaks(self) -> tuple[int | None, int | None]:
        """(reserved peak of the allocator, peak RSS) in bytes since `begin_timed`."""
        peaks = self.accelerator.peaks(reset=False)
        return None if peaks is None else peaks.reserved_bytes, _rss_peak()

    def provenance(self) -> Provenance:
        """Everything about this process that a reader could ask for."""
        threads = torch.get_num_threads() if self.device.type == "cpu" else None
        found = collect(self.accelerator, threads)
        architecture = self.setup.architecture
        more = {
            "hyperparameters": dict(self.method.hyperparameters),
            "lora_targets": list(architecture.lora_targets) if self.setup.peft.adapters else [],
            "peft": self.setup.peft.settings(self.cell),
            "tokenizer": self.batches.tokenizer,
            "data": {"pairs_kept": self.batches.kept, "pairs_dropped": self.batches.dropped},
            "kernel_path": {"model": "transformers", **paths_run()},
            "load_after": host_load(),
        }
        return _replaced(found, more)


def _replaced(provenance: Provenance, more: dict[str, object]) -> Provenance:
    import msgspec

    return msgspec.structs.replace(provenance, **more)


class _Busy:
    """Core seconds that others use: all busy time of the host less this process's own."""

    def __init__(self) -> None:
        self._host, self._own = self._read()

    @staticmethod
    def _read() -> tuple[float, float]:
        host = psutil.cpu_times()
        busy = sum(host) - host.idle - getattr(host, "iowait", 0.0) - getattr(host, "guest", 0.0)
        return busy, time.process_time()

    def others_share(self, seconds: float) -> float:
        """Share of all cores over the ``seconds`` since construction."""
        host, own = self._read()
        used = (host - self._host) - (own - self._own)
        return max(0.0, used) / (seconds * (psutil.cpu_count() or 1))


def _reset_rss_peak() -> None:
    try:
        _CLEAR_REFS.write_text("5")
    except OSError:
        return  # not Linux or not permitted: the peak then covers the process's whole life


def _rss_peak() -> int | None:
    if not _STATUS.is_file():
        return None
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None
