"""A cell being run: what happens inside the worker, without anything about processes."""

__all__ = ["Workload"]

import gc
import os
import time
from dataclasses import replace

import msgspec
import psutil
import torch

from alignmeter.accelerators import open_accelerator
from alignmeter.accelerators.cpu import host_threads
from alignmeter.accelerators.machines import ranks_here
from alignmeter.accelerators.provenance import collect, host_load
from alignmeter.architectures.operators import others_run
from alignmeter.batches import Batch, BatchSource, SharedRows
from alignmeter.cells.cell import Cell
from alignmeter.methods import Outcome, Probe, open_method, open_setup
from alignmeter.peft.targets import chosen_targets
from alignmeter.records.record import Provenance, Reason
from alignmeter.registry import ARCHITECTURES, METHODS, PEFT_MODES
from alignmeter.telemetry.linux.host import peak_rss_bytes, reset_peak_rss
from alignmeter.training.setup import Setup
from alignmeter.worker.agreement import (
    AGREEMENT_STEPS,
    PLAIN_ROLLOUT,
    checked_cell,
    observe,
)
from alignmeter.worker.attention import PLAIN
from alignmeter.worker.collective_times import collective_times
from alignmeter.worker.deterministic import use_deterministic
from alignmeter.worker.energy_window import measure_window
from alignmeter.worker.inputs import reading_checkpoint, shared_batches
from alignmeter.worker.memory.ledger import profile_step
from alignmeter.worker.messages import (
    EnergyWindow,
    MemoryProfile,
    Observed,
    ProcessPeaks,
    StepReport,
    StepSpans,
    Target,
)
from alignmeter.worker.meter import Meter
from alignmeter.worker.notes import notes_of
from alignmeter.worker.operators import profile_operators
from alignmeter.worker.phases import PhaseClock
from alignmeter.worker.progress import CountingProbe
from alignmeter.worker.queued import QueuedSteps
from alignmeter.worker.swap import swapped_bytes
from alignmeter_kernels.compile_time import compile_seconds
from alignmeter_kernels.paths import note, paths_run

_WINDOW_BATCHES = 4
"""Taken before the energy window, whose steps go through them in turns."""


class Workload:
    """The models, data and devices of one cell. Raises `CellError` for data that do not fit."""

    def __init__(
        self, cell: Cell, seed: int, index: int = 0, shared: SharedRows | None = None
    ) -> None:
        """``index`` is the replicate's number; it changes nothing that is measured. ``shared``:
        what the parent read of the data.
        """
        self.cell, self.shared, self.index, self.seed = cell, shared, index, seed
        use_deterministic(cell.deterministic)
        self.accelerator = open_accelerator(cell.accelerator)
        self.device = self.accelerator.torch_device()
        threads = max(1, host_threads() // ranks_here(cell.world_size))
        if self.device.type == "cpu" and threads != torch.get_num_threads():
            torch.set_num_threads(threads)
        self.meter = Meter(self.accelerator)
        self.method = open_method(cell.method)
        with reading_checkpoint(cell):
            self.setup = open_setup(cell, self.device, seed=seed)
        self.batches = self._open_batches(cell, self.setup)
        self.steps_done = 0

    def _open_batches(self, cell: Cell, setup: Setup) -> BatchSource:
        vocab_size = setup.vocab_size
        return shared_batches(cell, vocab_size=vocab_size, seed=self.seed, shared=self.shared)

    def build(self) -> float:
        """Make models and optimizers; returns the time that took in s."""
        with reading_checkpoint(self.cell):
            start = time.perf_counter()
            self.step_object = self.method.build(self.setup)
            self.accelerator.synchronise()
            self.accelerator.release()  # what drawing and packing needed is none of the cell's
            return time.perf_counter() - start

    def notes(self) -> list[Reason]:
        """What a reader has to know of the models, once they are built."""
        setup = self.setup
        every = {id(b): b for b in (setup.backbones, setup.teachers)}.values()
        return [n for b in every for n in notes_of(b.cell, b.zero_weights, b.huge_weights)]

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

        It comes before the whole models are built. Its tokens are replayed, so that no engine has
        to be made ready.
        """
        cell = msgspec.structs.replace(checked_cell(self.cell), rollout=PLAIN_ROLLOUT)
        with reading_checkpoint(cell):
            setup = open_setup(cell, self.device, seed=self.seed, layers=layers)
            batches = self._open_batches(cell, setup)
            step = self.method.build(setup)
        step.prepare(batches, CountingProbe())
        observed = observe(step, batches, self.method, self.device, replay)
        del step
        gc.collect()
        self.accelerator.release()
        return observed

    def _take(self) -> Batch:
        batch = self.batches.take(self.steps_done, self.device, self.method.rows)
        self.steps_done += 1
        return batch

    def _longest(self) -> Batch:
        return self.batches.longest(self.device, self.method.rows)

    def _row_len(self, batch: Batch) -> int:
        """Tokens of its longest row, the sampled ones of a rollout among them."""
        if batch.spans is None or not METHODS[self.cell.method].rollouts:
            return batch.ids.shape[1]
        return max(batch.spans.prompts) + self.cell.seq_len - self.cell.prompt_len

    def step(self) -> StepReport:
        """One timed step on the next batch; synchronised at both edges and nowhere between."""
        batch = self._take()
        self.accelerator.synchronise()
        busy = _Busy()
        clock, start = PhaseClock(self.accelerator), time.monotonic()
        outcome = self.step_object.run(batch, clock)
        self.accelerator.synchronise()
        end = time.monotonic()
        seconds = end - start
        return StepReport(
            seconds=seconds,
            phases=clock.seconds(),
            spans=StepSpans(start_s=start, end_s=end, phases=clock.spans()),
            loss=float(outcome.loss),
            trained_tokens=outcome.trained_tokens,
            padded_tokens=outcome.padded_tokens,
            generated_tokens=outcome.generated_tokens,
            logprob_gap=None if outcome.logprob_gap is None else float(outcome.logprob_gap),
            others_share=busy.others_share(seconds),
            own_share=busy.own_share(seconds),
            swapped_bytes=swapped_bytes(os.getpid()),
        )

    def memory_step(self) -> MemoryProfile:
        """One untimed step with its ledger: on the longest rows there are, where these differ."""
        ragged = self.cell.batching != "fixed"
        batch = self._longest() if ragged else self._take()
        profile = profile_step(self.step_object, batch, self.accelerator, self.device)
        if ragged:
            profile = replace(profile, seq_len=self._row_len(batch))
        row = ARCHITECTURES.get(self.cell.architecture)
        if profile.attention is not None or (row is not None and row.attends):
            note("attention", profile.attention or PLAIN)
        return profile

    def operator_step(self) -> dict[str, float]:
        """One untimed step: family of operators -> s."""
        return profile_operators(lambda: self.run_once(CountingProbe()), self.device)

    def communication_step(self) -> dict[str, tuple[float, float]]:
        """One untimed step: kind of collective -> s, and of them s without any computing."""
        return collective_times(lambda: self.run_once(CountingProbe()), self.device)

    def telemetry_target(self) -> Target:
        """What a sampler should read."""
        return self.meter.target

    def energy_window(self) -> EnergyWindow:
        """Whole steps between two readings of the device's counter, or why not.

        Every rank reads its own device, and all take as many steps.
        """
        batches = [self._take() for _ in range(_WINDOW_BATCHES)]
        agreed = self.setup.ranks.largest
        steps = QueuedSteps(self.step_object, batches, self.accelerator, agreed)
        return measure_window(self.meter, steps)

    def run_once(self, probe: Probe) -> Outcome:
        """One step that nobody times."""
        outcome = self.step_object.run(self._take(), probe)
        self.accelerator.synchronise()
        return outcome

    def begin_timed(self) -> None:
        """Forget the peaks so far."""
        self.accelerator.peaks(reset=True)
        # Not Linux or not permitted: the peak then covers the process's whole life.
        reset_peak_rss(os.getpid())

    def peaks(self) -> ProcessPeaks:
        """Peaks since `begin_timed`."""
        peaks = self.accelerator.peaks(reset=False)
        return ProcessPeaks(
            reserved_bytes=None if peaks is None else peaks.reserved_bytes,
            device_used_bytes=None if peaks is None else peaks.device_used_bytes,
            rss_bytes=peak_rss_bytes(os.getpid()),
            compile_s=compile_seconds(),
        )

    def provenance(self) -> Provenance:
        """Everything about this process that a reader could ask for."""
        threads = torch.get_num_threads() if self.device.type == "cpu" else None
        found = collect(self.accelerator.devices()[self.device.index or 0], threads)
        architecture, adapters = self.setup.architecture, PEFT_MODES[self.cell.peft].adapters
        more = {
            "hyperparameters": dict(self.method.hyperparameters),
            "lora_targets": list(chosen_targets(architecture, self.cell)) if adapters else [],
            "peft": self.setup.peft.settings(self.cell),
            "tokenizer": self.batches.tokenizer,
            "data": dict(self.batches.counts),
            "data_layout": self.batches.layout,
            "kernel_path": {"model": "transformers", **paths_run(), **others_run()},
            "weights_drawn_on": self.setup.backbones.drawn_on,
            "load_after": host_load(),
        }
        return _replaced(found, more)


def _replaced(provenance: Provenance, more: dict[str, object]) -> Provenance:
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

    def own_share(self, seconds: float) -> float:
        """The same of this process."""
        return (self._read()[1] - self._own) / (seconds * (psutil.cpu_count() or 1))
