"""The host's CPU."""

__all__ = ["CPU", "Cpu"]

import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from alignmeter.accelerators.base import Accelerator, Device, Mark, Peaks
from alignmeter.telemetry.linux.host import open_cpu
from alignmeter.telemetry.visibility import all_visible

if TYPE_CHECKING:
    import torch

_CPUINFO = Path("/proc/cpuinfo")


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
        """One entry: the host, with its RAM."""
        return [
            Device(
                name=_model_name(),
                memory_bytes=psutil.virtual_memory().total,
                uuid=None,
                pci_bus_id=None,
                driver=None,
                runtime=None,
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
    device_type="cpu",
    memory_kind="cpu tensor storage",
    device_nodes=(),
    open_telemetry=open_cpu,
    visible=all_visible,
    visible_variables=(),
    planned_chip=None,
    block_bytes=1,
)
