"""The memory step: one untimed step with every byte at its peak given an owner."""

__all__ = ["default_owner", "logged", "own_residents", "profile_step", "rows"]

import contextlib
import gc
from collections.abc import Callable, Iterator

import torch
from torch import nn

from alignmeter.accelerators.base import Accelerator
from alignmeter.batches import Batch
from alignmeter.methods import TrainingStep
from alignmeter.peft.adapters import adapter_parameters
from alignmeter.peft.nf4 import quantisation_tensors
from alignmeter.records.record import OWNERS
from alignmeter.worker.memory.allocations import AllocationLog
from alignmeter.worker.memory.cpu_events import CpuEvents, record_events
from alignmeter.worker.memory.torch_internals import generator_states
from alignmeter.worker.messages import MemoryProfile


def profile_step(
    step: TrainingStep, batch: Batch, accelerator: Accelerator, device: torch.device
) -> MemoryProfile:
    """Run one step and account for its peak. Optimizer state must exist already (warm up first).

    Raises `RuntimeError` if the allocator's events do not match the operators seen.
    """
    gc.collect()
    if device.type != "cpu":
        return _on_accelerator(step, batch, accelerator, device)
    log = AllocationLog(device, markers=True)
    own_residents(log, step, batch)
    log.own("unattributed", _live_tensors())
    base = log.live_bytes()
    with record_events() as events, _generator_states_seen(log):
        logged(log, lambda: step.run(batch, log), step)
    return _reconciled(log, events, base)


def _on_accelerator(
    step: TrainingStep, batch: Batch, accelerator: Accelerator, device: torch.device
) -> MemoryProfile:
    """The allocator's peak is the truth; the log's largest moment gives the owners."""
    log = AllocationLog(device, markers=False)
    own_residents(log, step, batch)
    accelerator.synchronise()
    accelerator.peaks(reset=True)
    logged(log, lambda: step.run(batch, log), step)
    accelerator.synchronise()
    peaks = accelerator.peaks(reset=False)
    live = log.live_curve()
    at = max(range(len(live)), key=live.__getitem__)
    peak = live[at] if peaks is None else peaks.allocated_bytes
    ledger = _owners_at(log, at)
    ledger["unattributed"] += peak - sum(ledger.values())
    return MemoryProfile(
        peak_bytes=peak,
        phase=log.phase_of[at - 1] if at else None,
        operator=log.operators[at - 1] if at else None,
        phase_peaks=_phase_peaks(log, live),
        ledger=rows(ledger),
    )


def logged(log: AllocationLog, run: Callable[[], object], step: TrainingStep) -> None:
    """Run with the log on; gradients of what trains are owned as they come."""
    parameters = [p for m in step.models().values() for p in m.parameters() if p.requires_grad]
    stop = log.own_gradients(parameters)
    try:
        with log:
            run()
    finally:
        stop()


@contextlib.contextmanager
def _generator_states_seen(log: AllocationLog) -> Iterator[None]:
    """A checkpointed block keeps the CPU generator's state (5 kB), which no operator makes."""
    get_rng_state = torch.get_rng_state

    def seen() -> torch.Tensor:
        state = get_rng_state()
        log.own("activations", [state])
        return state

    with generator_states(seen):
        yield


def own_residents(log: AllocationLog, step: TrainingStep, batch: Batch) -> None:
    """Name the owners of all that is there between steps."""
    for name, model in step.models().items():
        log.own("adapters", adapter_parameters(model).values())
        log.own("quantisation_state", quantisation_tensors(model))
        log.own(f"{name}_weights", [*model.parameters(), *model.buffers()])
    for optimizer in step.optimizers():
        log.own("optimizer_state", _state_tensors(optimizer))
    log.own("batch", [batch.ids, batch.response_mask])


def _state_tensors(optimizer: torch.optim.Optimizer) -> Iterator[torch.Tensor]:
    for state in optimizer.state.values():
        yield from (value for value in state.values() if isinstance(value, torch.Tensor))


def _live_tensors() -> list[torch.Tensor]:
    """Every tensor that Python can reach; ``type`` because ``isinstance`` wakes lazy proxies."""
    return [o for o in gc.get_objects() if issubclass(type(o), (torch.Tensor, nn.Parameter))]


def default_owner(phase: str | None) -> str:
    """Who owns what nobody claimed and a phase made."""
    return "workspace" if phase == "optimizer" else "activations"


def _owners_at(log: AllocationLog, operator: int) -> dict[str, int]:
    ledger = dict.fromkeys(OWNERS, 0)
    for storage in log.storages:
        if storage.alive_at(operator):
            ledger[storage.owner or default_owner(storage.phase)] += storage.nbytes
    return ledger


def rows(ledger: dict[str, int]) -> dict[str, int]:
    """A record's rows: every owner, with its unit in the name."""
    return {f"{owner}_bytes": ledger.get(owner, 0) for owner in OWNERS}


def _phase_peaks(log: AllocationLog, after: list[int]) -> dict[str, int]:
    peaks: dict[str, int] = {}
    for operator, phase in enumerate(log.phase_of):
        if phase is not None:
            peaks[phase] = max(peaks.get(phase, 0), after[operator + 1])
    return peaks


def _reconciled(log: AllocationLog, events: CpuEvents, base: int) -> MemoryProfile:
    moments = events.replay()
    if len(moments) != len(log.operators) + 1:
        raise RuntimeError(
            f"{len(moments) - 1} operators in the allocator's events, "
            f"{len(log.operators)} dispatched"
        )
    peaks = [base + peak for _, peak in moments]
    at = max(range(1, len(moments)), key=peaks.__getitem__)
    operator = at - 1
    entry, peak = base + moments[at][0], peaks[at]
    ledger = _owners_at(log, operator)
    ledger["unattributed"] += entry - sum(ledger.values())
    made = [s for s in log.storages if s.born == operator]
    room = peak - entry
    for storage in made:
        count = min(room, storage.nbytes)
        ledger[storage.owner or default_owner(storage.phase)] += count
        room -= count
    ledger["workspace"] += room
    return MemoryProfile(
        peak_bytes=peak,
        phase=log.phase_of[operator],
        operator=log.operators[operator],
        phase_peaks=_phase_peaks(log, peaks),
        ledger=rows(ledger),
    )
