"""The memory step: one untimed step with every byte at its peak given an owner."""

__all__ = ["MemoryProfile", "profile_step"]

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from alignmeter.accelerators.base import Accelerator
from alignmeter.batches import Batch
from alignmeter.methods import TrainingStep
from alignmeter.peft.adapters import adapter_parameters
from alignmeter.peft.nf4 import quantisation_tensors
from alignmeter.record import OWNERS
from alignmeter.session.allocations import AllocationLog
from alignmeter.session.cpu_events import CpuEvents, record_events


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryProfile:
    """Peak of one step in bytes, where it was reached, and the ledger that sums to it."""

    peak_bytes: int
    phase: str | None
    operator: str | None
    phase_peaks: dict[str, int]
    ledger: dict[str, int]


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
    _own_residents(log, step, batch)
    log.own("unattributed", _live_tensors())
    base = log.live_bytes()
    with record_events() as events:
        _logged(log, lambda: step.run(batch, log), step)
    return _reconciled(log, events, base)


def _on_accelerator(
    step: TrainingStep, batch: Batch, accelerator: Accelerator, device: torch.device
) -> MemoryProfile:
    """The allocator's peak is the truth; the log's largest moment gives the owners."""
    log = AllocationLog(device, markers=False)
    _own_residents(log, step, batch)
    accelerator.synchronise()
    accelerator.peaks(reset=True)
    _logged(log, lambda: step.run(batch, log), step)
    accelerator.synchronise()
    peaks = accelerator.peaks(reset=False)
    live = _live_curve(log)
    at = max(range(len(live)), key=live.__getitem__)
    peak = live[at] if peaks is None else peaks.allocated_bytes
    ledger = _owners_at(log, at)
    ledger["unattributed"] += peak - sum(ledger.values())
    return MemoryProfile(
        peak_bytes=peak,
        phase=log.phase_of[at - 1] if at else None,
        operator=log.operators[at - 1] if at else None,
        phase_peaks=_phase_peaks(log, live),
        ledger=_rows(ledger),
    )


def _logged(log: AllocationLog, run: Callable[[], object], step: TrainingStep) -> None:
    parameters = [p for m in step.models().values() for p in m.parameters() if p.requires_grad]
    stop = log.own_gradients(parameters)
    try:
        with log:
            run()
    finally:
        stop()


def _own_residents(log: AllocationLog, step: TrainingStep, batch: Batch) -> None:
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


def _default_owner(phase: str | None) -> str:
    return "workspace" if phase == "optimizer" else "activations"


def _owners_at(log: AllocationLog, operator: int) -> dict[str, int]:
    ledger = dict.fromkeys(OWNERS, 0)
    for storage in log.storages:
        if storage.alive_at(operator):
            ledger[storage.owner or _default_owner(storage.phase)] += storage.nbytes
    return ledger


def _rows(ledger: dict[str, int]) -> dict[str, int]:
    return {f"{owner}_bytes": count for owner, count in ledger.items()}


def _live_curve(log: AllocationLog) -> list[int]:
    """Bytes known to the log at the begin of each operator, and after the last one."""
    change = [0] * (len(log.operators) + 2)
    for storage in log.storages:
        change[storage.born + 1] += storage.nbytes
        if storage.died is not None:
            change[storage.died] -= storage.nbytes
    curve, live = [], 0
    for delta in change[:-1]:
        live += delta
        curve.append(live)
    return curve


def _phase_peaks(log: AllocationLog, after: list[int]) -> dict[str, int]:
    peaks: dict[str, int] = {}
    for operator, phase in enumerate(log.phase_of):
        if phase is not None:
            peaks[phase] = max(peaks.get(phase, 0), after[operator + 1])
    return peaks


def _reconciled(log: AllocationLog, events: CpuEvents, base: int) -> MemoryProfile:
    rows = events.replay()
    if len(rows) != len(log.operators) + 1:
        raise RuntimeError(
            f"{len(rows) - 1} operators in the allocator's events, {len(log.operators)} dispatched"
        )
    peaks = [base + peak for _, peak in rows]
    at = max(range(1, len(rows)), key=peaks.__getitem__)
    operator = at - 1
    entry, peak = base + rows[at][0], peaks[at]
    ledger = _owners_at(log, operator)
    ledger["unattributed"] += entry - sum(ledger.values())
    made = [s for s in log.storages if s.born == operator]
    room = peak - entry
    for storage in made:
        count = min(room, storage.nbytes)
        ledger[storage.owner or _default_owner(storage.phase)] += count
        room -= count
    ledger["workspace"] += room
    return MemoryProfile(
        peak_bytes=peak,
        phase=log.phase_of[operator],
        operator=log.operators[operator],
        phase_peaks=_phase_peaks(log, peaks),
        ledger=_rows(ledger),
    )
