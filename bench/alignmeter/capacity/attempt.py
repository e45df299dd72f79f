"""One try of a capacity search: the memory of a cell's second step, in a worker of its own."""

__all__ = ["StepMemory", "look_at", "step_memory"]

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psutil

from alignmeter.accelerators.cpu import host_memory
from alignmeter.batches import share_rows
from alignmeter.cells.cell import Cell
from alignmeter.cells.settings import Settings
from alignmeter.records.record import VRAM, Provenance
from alignmeter.session.launcher import Launcher, Worker
from alignmeter.session.time_limit import time_limit_s
from alignmeter.units import MIB
from alignmeter.worker.messages import MemoryProfile, ProcessPeaks

_ROOM = 2
_SLACK_BYTES = 512 * MIB
"""How far a worker may grow on a CPU until its first step is done: this multiple of the limit, and
this much more.

An address space holds more than tensors: workers of tiny cells with 12 to 263 MiB of tensors grew
by 150 MiB and up to twice the tensors. What grows further is far beyond the limit, and its
allocation fails instead of taking the machine's memory. The memory step is not bounded: it needs no
more for its tensors, but keeps a list of all their allocations, 2 GiB for a PPO step that decodes
640 tokens.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepMemory:
    """``peak_bytes``: the allocator's peak of a step. ``used_bytes``: what a limit is held against.

    On a CPU the two are the same. On an accelerator the second is what the device has in use, with
    context, caching allocator and other processes.
    """

    peak_bytes: int
    used_bytes: int
    provenance: Provenance


def look_at(cell: Cell, settings: Settings, launcher: Launcher) -> Provenance:
    """What a worker sees, its device's memory above all: this process must not hold a device.

    Raises `CellError` if the worker fails or the cell's data do not fit it.
    """
    worker, limit_s = launcher.start(), time_limit_s(cell, settings)
    try:
        worker.call("open", cell, settings.seed, 0, share_rows(cell), timeout_s=limit_s)
        provenance: Provenance = worker.call("provenance", timeout_s=limit_s)
    finally:
        worker.kill()
    return provenance


def step_memory(
    cell: Cell, limit_bytes: int, kind: str, settings: Settings, launcher: Launcher
) -> StepMemory:
    """Build, warm up and measure one step. Raises `CellError` if that fails.

    ``kind``: of the memory. Where it is no accelerator's, a step that grows far beyond the limit
    runs out of memory.
    """
    deadline = time.monotonic() + time_limit_s(cell, settings)
    worker = launcher.start()

    def call(verb: str, *arguments: object) -> Any:
        return worker.call(verb, *arguments, timeout_s=deadline - time.monotonic())

    try:
        call("open", cell, settings.seed, 0, share_rows(cell))
        with contextlib.nullcontext() if kind == VRAM else _bounded(worker, limit_bytes):
            for verb in ("build", "prepare", "step"):
                call(verb)
        profile: MemoryProfile = call("memory_step")
        peaks: ProcessPeaks = call("peaks")
        provenance: Provenance = call("provenance")
    except BaseException:
        worker.kill()
        raise
    worker.close()
    used = [profile.peak_bytes]
    if kind == VRAM:
        used += [n for n in (peaks.reserved_bytes, peaks.device_used_bytes) if n is not None]
    return StepMemory(peak_bytes=profile.peak_bytes, used_bytes=max(used), provenance=provenance)


@contextlib.contextmanager
def _bounded(worker: Worker, limit_bytes: int) -> Iterator[None]:
    """Inside, an allocation far beyond the limit fails, where the system can do that."""
    process = psutil.Process(worker.pid)
    if not hasattr(process, "rlimit"):
        yield
        return
    before = process.rlimit(psutil.RLIMIT_AS)
    room = min(_ROOM * limit_bytes + _SLACK_BYTES, host_memory().free_bytes)
    process.rlimit(psutil.RLIMIT_AS, (process.memory_info().vms + room, before[1]))
    yield
    process.rlimit(psutil.RLIMIT_AS, before)
