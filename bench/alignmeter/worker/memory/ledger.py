"""The memory step: one untimed step with every byte at its peak given an owner."""

__all__ = [
    "live_tensors",
    "logged",
    "own_residents",
    "profile_step",
    "rows",
]

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
from alignmeter.worker.attention import attention_path
from alignmeter.worker.memory.allocations import AllocationLog
from alignmeter.worker.memory.collectives import COMMUNICATION, held_on, is_collective
from alignmeter.worker.memory.cpu_events import CpuEvents, record_events
from alignmeter.worker.memory.library_workspace import library_workspace_bytes
from alignmeter.worker.memory.torch_internals import FakeTensor, generator_states
from alignmeter.worker.messages import CacheUse, MemoryProfile
from alignmeter_kernels.planning import watching

_CACHE = "rollout_cache"


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
    log.own("unattributed", live_tensors())
    base = log.live_bytes()
    with record_events() as events, _generator_states_seen(log):
        logged(log, lambda: step.run(batch, log), step)
    return _reconciled(log, events, base)


def _on_accelerator(
    step: TrainingStep, batch: Batch, accelerator: Accelerator, device: torch.device
) -> MemoryProfile:
    """The allocator's peaks are the truth, of each phase too; the log says whose bytes they are."""
    library = library_workspace_bytes(accelerator, device)
    log = _PhaseLog(device, accelerator)
    own_residents(log, step, batch)
    accelerator.synchronise()
    accelerator.peaks(reset=True)
    with watching(log):
        logged(log, lambda: step.run(batch, log), step)
    log.edge(None)
    live, phase = log.live_curve(), log.highest()
    inside = [i for i, name in enumerate((None, *log.phase_of)) if name == phase]
    at = max(inside or range(len(live)), key=live.__getitem__)
    peak = log.peaks.get(phase, live[at])
    ledger = _owners_at(log, at)
    ledger["library_workspace"] = library
    ledger["unattributed"] += peak - sum(ledger.values())
    return MemoryProfile(
        peak_bytes=peak,
        phase=phase,
        operator=log.operators[at - 1] if at else None,
        phase_peaks={name: count for name, count in log.peaks.items() if name is not None},
        ledger=rows(ledger),
        attention=attention_path(log.operators),
        cache=_cache_use(log),
        sent=tuple(log.sent),
    )


class _PhaseLog(AllocationLog):
    """A log that reads the allocator's peak at the edges of phases. Nothing waits for the device:
    memory is handed out where operators are launched.
    """

    def __init__(self, device: torch.device, accelerator: Accelerator) -> None:
        super().__init__(device, markers=False, block=accelerator.block_bytes)
        self.peaks: dict[str | None, int] = {}
        self._accelerator = accelerator

    def edge(self, ended: str | None) -> None:
        """The peak since the last edge is that of the phase that ended here, or of none."""
        peaks = self._accelerator.peaks(reset=True)
        if peaks is not None:
            self.peaks[ended] = max(self.peaks.get(ended, 0), peaks.allocated_bytes)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """As the log's, between two edges."""
        self.edge(None)
        with super().phase(name):
            yield
        self.edge(name)

    def highest(self) -> str | None:
        """The phase of the largest peak; of equal ones that which has a name."""
        return max(self.peaks, key=lambda name: (self.peaks[name], name is not None), default=None)


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
    for owner, tensors in step.held().items():
        log.own(owner, tensors)
    log.own("batch", batch.tensors())


def _state_tensors(optimizer: torch.optim.Optimizer) -> Iterator[torch.Tensor]:
    """All but what bitsandbytes pages: that is no memory of the device's allocator."""
    for state in optimizer.state.values():
        tensors = (value for value in state.values() if isinstance(value, torch.Tensor))
        yield from (tensor for tensor in tensors if not getattr(tensor, "is_paged", False))


def live_tensors() -> list[torch.Tensor]:
    """Every tensor that Python can reach; ``type`` because ``isinstance`` wakes lazy proxies.

    A compiler's graphs keep tensors without data, which say that they are on the device.
    """
    kinds = ((o, type(o)) for o in gc.get_objects())
    tensors = ((o, kind) for o, kind in kinds if issubclass(kind, (torch.Tensor, nn.Parameter)))
    return [o for o, kind in tensors if not issubclass(kind, FakeTensor)]


def _owners_at(log: AllocationLog, operator: int) -> dict[str, int]:
    ledger = dict.fromkeys(OWNERS, 0)
    for storage in log.storages:
        if storage.alive_at(operator):
            ledger[storage.owned_by] += storage.nbytes
    return ledger


def rows(ledger: dict[str, int]) -> dict[str, int]:
    """A record's rows: every owner, with its unit in the name."""
    return {f"{owner}_bytes": ledger.get(owner, 0) for owner in OWNERS}


def _cache_use(log: AllocationLog) -> CacheUse | None:
    """What the rollout's cache took at its largest moment, and what of it was in use."""
    used = log.used.get(_CACHE)
    if used is None:
        return None
    reserved = max(log.live_curve(_CACHE)) + log.beside[_CACHE]
    return CacheUse(reserved_bytes=reserved, used_bytes=used)


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
    hidden = [
        base + row[0] - live for row, live in zip(moments[1:], log.live_curve()[:-1], strict=True)
    ]
    ledger[COMMUNICATION] += held_on(log.operators, hidden)[operator]
    ledger["unattributed"] += entry - sum(ledger.values())
    made = [s for s in log.storages if s.born == operator]
    room = peak - entry
    for storage in made:
        count = min(room, storage.nbytes)
        ledger[storage.owned_by] += count
        room -= count
    inside = COMMUNICATION if is_collective(log.operators[operator]) else "workspace"
    ledger[inside] += room
    return MemoryProfile(
        peak_bytes=peak,
        phase=log.phase_of[operator],
        operator=log.operators[operator],
        phase_peaks=_phase_peaks(log, peaks),
        ledger=rows(ledger),
        attention=attention_path(log.operators),
        cache=_cache_use(log),
        sent=tuple(log.sent),
    )
