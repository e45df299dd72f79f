"""The host's CPU."""

__all__ = ["CPU", "Cpu"]

import platform
import time
from pathlib import Path

import psutil
import torch

from alignmeter.accelerators.base import Device, Mark, Peaks

_CPUINFO = Path("/proc/cpuinfo")


class Cpu:
    """Always here. Its memory figures are bytes of tensors, not VRAM."""

    name = "cpu"
    memory_kind = "cpu tensor storage"

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

    def torch_device(self) -> torch.device:
        """``cpu``."""
        return torch.device("cpu")

    def mark(self) -> Mark:
        """Wall clock in s: CPU operators have finished when they return."""
        return time.perf_counter()

    def seconds(self, start: Mark, end: Mark) -> float:
        """Difference of two marks, in s."""
        return float(end - start)

    def synchronise(self) -> None:
        """Nothing is pending on a CPU."""

    def peaks(self, *, reset: bool) -> Peaks | None:  # noqa: ARG002 - the protocol's signature
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


CPU = Cpu()
