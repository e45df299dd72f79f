"""What is asked of an accelerator: facts of its kind of device, and a few methods on devices."""

__all__ = ["Accelerator", "Device", "Mark", "Peaks"]

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from alignmeter.analysis.roofline import MeasuredCeilings
from alignmeter.telemetry.base import Telemetry
from alignmeter.telemetry.visibility import Named, Visible

# Who only asks for facts should not wait for torch: methods that need it import it.
if TYPE_CHECKING:
    import torch

Mark = Any
"""A point in the device's time; only `Accelerator.seconds` reads it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """Identity of one device, as torch has it. ``memory_bytes`` is its capacity, for a CPU what may
    be used of the host's RAM, and ``memory_limited_by`` what sets that below the RAM;
    ``pci_bus_id`` is ``dddd:bb:dd.f``; ``chip``: what kernels are compiled for, such as ``sm_90``.
    """

    name: str
    memory_bytes: int | None
    uuid: str | None
    pci_bus_id: str | None
    driver: str | None
    runtime: str | None
    chip: str | None = None
    memory_limited_by: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Peaks:
    """Allocator peaks in bytes since the last reset, and what is allocated now.

    ``device_used_bytes``: what is in use on the device now, by all processes, as its runtime says.
    """

    allocated_bytes: int
    reserved_bytes: int
    allocated_now_bytes: int
    device_used_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class Accelerator(ABC):
    """One kind of device. Facts and `ruled_out` import no torch and open no device.

    ``device_type``: torch's word for it. ``memory_kind``: what its memory figures are figures of.
    ``device_nodes``: patterns below ``/dev`` of its driver's files: where none of them is, there is
    no device. Empty for the host's own processor. ``context_nodes``: those that a process opens to
    compute; a vendor's library that only reads figures leaves them alone. ``open_telemetry``:
    opens its vendor's library for a process id. ``visible``: what an environment leaves of the
    devices that this library sees; ``visible_variables``: the variables that say so, here and in
    containers; ``hiding``: those with values that leave none; ``pinned_by``: the one that leaves
    the devices of some indices, empty where all share one. ``kubernetes``: the resource that its
    vendor's device plugin counts them by. ``planned_chip``: whose tiles the
    kernels are planned with; ``None``: the CPU's own paths. ``block_bytes``: its allocator hands
    out multiples of this. ``library_workspaces``: chip, by how its name begins -> bytes that the
    library of matrix products keeps for each thread that multiplies. ``vendor_kernels``: the
    packages of ``kernels = vendor`` are built for it. ``records_graphs``: torch can record what is
    launched on it once and replay it. ``collectives``: torch.distributed's backend between its
    devices; empty: none is known. ``measures_ceilings``: its peaks are in no table.
    ``telemetry_library``: the word for what ``open_telemetry`` opens; empty: there is none.
    """

    name: str
    device_type: str
    memory_kind: str
    device_nodes: tuple[str, ...]
    open_telemetry: Callable[[int], Telemetry]
    visible: Callable[[Mapping[str, str], Sequence[Named]], Visible]
    visible_variables: tuple[str, ...]
    planned_chip: str | None
    block_bytes: int
    context_nodes: tuple[str, ...] = ()
    library_workspaces: Mapping[str, int] = field(default_factory=dict)
    hiding: Mapping[str, str] = field(default_factory=dict)
    pinned_by: str = ""
    kubernetes: str = ""
    vendor_kernels: bool = False
    records_graphs: bool = False
    collectives: str = ""
    measures_ceilings: bool = False
    telemetry_library: str = ""

    @abstractmethod
    def ruled_out(self) -> str | None:
        """Why no device can be used here, found without touching one; ``None`` if one may be."""

    @abstractmethod
    def missing(self) -> str | None:
        """``None`` if a device is here, else why not and what would enable it. May open it."""

    @abstractmethod
    def devices(self) -> list[Device]:
        """The devices of this kind that this process may use. Opens them."""

    def answering(self) -> AbstractContextManager[None]:
        """Within the context torch tells the compute capability without opening a device: libraries
        ask for it while they are imported.
        """
        return nullcontext()

    def broken_by_fork(self) -> bool:
        """Whether the process that this one was forked from had opened a device: then this one can
        use none.
        """
        return False

    @abstractmethod
    def torch_device(self) -> "torch.device":
        """Where tensors go."""

    def use(self, number: int) -> None:  # noqa: ARG002 - all ranks share one
        """Compute on the device of that number from here on; where all share one, nothing changes.

        Raises `CellError` where there are not so many.
        """
        return

    @abstractmethod
    def mark(self) -> Mark:
        """Note this point of the device's stream without waiting for it."""

    @abstractmethod
    def seconds(self, start: Mark, end: Mark) -> float:
        """Device time between two marks, in s. The device must be synchronised."""

    @abstractmethod
    def synchronise(self) -> None:
        """Wait until the device has done all that was asked of it."""

    @abstractmethod
    def cache_bytes(self) -> int | None:
        """Of the largest cache that all units of the device share; ``None``: what is timed on it
        starts with what the caches hold.
        """

    @abstractmethod
    def peaks(self, *, reset: bool) -> Peaks | None:
        """Allocator peaks, or ``None`` where the backend keeps none."""

    def own_ceilings(self) -> MeasuredCeilings | None:
        """What it reaches, measured now in a process that does nothing else; ``None`` where the
        table of chips says it.
        """
        return None

    @abstractmethod
    def release(self) -> None:
        """Give the allocator's unused memory back to the device."""
