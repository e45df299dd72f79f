"""What the session asks of an accelerator."""

__all__ = ["Accelerator", "Device", "Mark", "Peaks"]

from dataclasses import dataclass
from typing import Any, Protocol

import torch

Mark = Any
"""A point in the device's time; only `Accelerator.seconds` reads it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """Identity of one device, as torch has it. ``memory_bytes`` is its capacity, for a CPU the
    host's RAM; ``pci_bus_id`` is ``dddd:bb:dd.f``.
    """

    name: str
    memory_bytes: int | None
    uuid: str | None
    pci_bus_id: str | None
    driver: str | None
    runtime: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Peaks:
    """Allocator peaks in bytes since the last reset.

    ``device_used_bytes``: what is in use on the device now, by all processes, as its runtime says.
    """

    allocated_bytes: int
    reserved_bytes: int
    device_used_bytes: int | None


class Accelerator(Protocol):
    """One kind of device. Nothing touches the device before ``torch_device`` is used."""

    name: str
    memory_kind: str

    def missing(self) -> str | None:
        """``None`` if a device is here, else why not and what would enable it."""
        ...

    def devices(self) -> list[Device]:
        """The devices of this kind that this process may use."""
        ...

    def torch_device(self) -> torch.device:
        """Where tensors go."""
        ...

    def mark(self) -> Mark:
        """Note this point of the device's stream without waiting for it."""
        ...

    def seconds(self, start: Mark, end: Mark) -> float:
        """Device time between two marks, in s. The device must be synchronised."""
        ...

    def synchronise(self) -> None:
        """Wait until the device has done all that was asked of it."""
        ...

    def peaks(self, *, reset: bool) -> Peaks | None:
        """Allocator peaks, or ``None`` where the backend keeps none."""
        ...

    def release(self) -> None:
        """Give the allocator's unused memory back to the device."""
        ...
