"""The host's CPU."""

__all__ = ["CPU", "Cpu", "host_memory", "host_threads"]

import math
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from alignmeter.accelerators.base import Accelerator, Device, Mark, Peaks
from alignmeter.accelerators.cpu_ceilings import measured_ceilings
from alignmeter.analysis.roofline import MeasuredCeilings
from alignmeter.telemetry.linux.host import open_cpu
from alignmeter.telemetry.linux.limits import MemoryLimit, cpus, memory_limit
from alignmeter.telemetry.visibility import all_visible

if TYPE_CHECKING:
    import torch

_CPUINFO = Path("/proc/cpuinfo")


_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables by which a user says how many threads there are to be."""


def host_memory() -> MemoryLimit:
    """What this process may use of the host's memory, and what is left of that now."""
    found = memory_limit()
    if found is not None:
        return found
    memory = psutil.virtual_memory()  # no procfs: not Linux
    return MemoryLimit(total_bytes=memory.total, free_bytes=memory.available)


def host_threads() -> int:
    """Threads of a worker on the CPU: torch's own number, or what a CPU quota leaves of it.

    torch counts the cores that it may run on, and knows no quotas: with more threads than time for
    them, all are stopped for most of each period. A variable that says how many is obeyed.
    """
    import torch

    threads, quota = torch.get_num_threads(), cpus()
    if quota is None or any(name in os.environ for name in _THREADS):
        return threads
    return max(1, min(threads, math.floor(quota)))


@dataclass(frozen=True, kw_only=True)
class Cpu(Accelerator):
    """Always here, and nothing of it is opened. Its memory figures are bytes of tensors."""

    def ruled_out(self) -> str | None:
        """``None``."""
        return None

    def missing(self) -> str | None:
        """``None``."""
        return None

    def devices(self) -> list[Device]:
        """One entry: the host, with what may be used of its RAM."""
        memory = host_memory()
        return [
            Device(
                name=_model_name(),
                memory_bytes=memory.total_bytes,
                uuid=None,
                pci_bus_id=None,
                driver=None,
                runtime=None,
                memory_limited_by=memory.by,
            )
        ]

    def torch_device(self) -> "torch.device":
        """``cpu``."""
        import torch

        return torch.device("cpu")

    def mark(self) -> Mark:
        """Wall clock in s: CPU operators have finished when they return."""
        return time.perf_counter()

    def seconds(self, start: Mark, end: Mark) -> float:
        """Difference of two marks, in s."""
        return float(end - start)

    def synchronise(self) -> None:
        """Nothing is pending on a CPU."""

    def cache_bytes(self) -> int | None:
        """``None``: its caches are the cores' own in part, and calls are timed one after the other,
        as models make them.
        """
        return None

    def peaks(self, *, reset: bool) -> Peaks | None:  # noqa: ARG002 - the base's signature
        """``None``: torch keeps no statistics for the CPU; the memory step measures instead."""
        return None

    def own_ceilings(self) -> MeasuredCeilings:
        """At the thread count of a worker; torch's own number is 1 afterwards."""
        return measured_ceilings(host_threads())

    def release(self) -> None:
        """The CPU allocator frees at once."""


def _model_name() -> str:
    if _CPUINFO.is_file():
        for line in _CPUINFO.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


CPU = Cpu(
    name="cpu",
    collectives="gloo",
    device_type="cpu",
    memory_kind="cpu tensor storage",
    device_nodes=(),
    open_telemetry=open_cpu,
    telemetry_library="linux",
    visible=all_visible,
    visible_variables=(),
    planned_chip=None,
    block_bytes=1,
    measures_ceilings=True,
)
