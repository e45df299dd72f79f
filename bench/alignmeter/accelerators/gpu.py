"""What CUDA, ROCm and XPU devices have in common through torch's device modules."""

__all__ = ["Gpu"]

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from alignmeter.accelerators.base import Accelerator, Device, Mark, Peaks
from alignmeter.records.record import VRAM
from alignmeter.telemetry.device_nodes import device_nodes

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Gpu(Accelerator):
    """A device behind one of torch's modules, such as ``torch.cuda``; vendor files give the facts.

    Runs on the device that torch calls current: the first visible one unless masked otherwise.
    ``build``: the toolkit version that this torch was built for, ``None`` if it was not.
    ``install``: what has such a build.
    """

    build: Callable[[], str | None]
    install: str
    memory_kind: str = VRAM
    block_bytes: int = 512
    """torch's caching allocators hand out multiples of 512 bytes (``kMinBlockSize``)."""

    @property
    def _module(self) -> ModuleType:
        import torch

        module: ModuleType = torch.get_device_module(self.device_type)
        return module

    def ruled_out(self) -> str | None:
        """No build of torch for it, or none of its driver's files."""
        if self.build() is None:
            return f"this torch has no {self.name} build; install {self.install}"
        if not device_nodes(self.device_nodes):
            looked_for = ", ".join(f"/dev/{pattern}" for pattern in self.device_nodes)
            return (
                f"there is no {looked_for}; load the driver, and pass the device to the container"
            )
        return None

    def missing(self) -> str | None:
        """``None`` if a device is visible, else the reason with its remedy."""
        reason = self.ruled_out()
        if reason is None and not self._module.is_available():
            return "torch sees no such device; check the driver and the visible-devices variables"
        return reason

    def devices(self) -> list[Device]:
        """Every visible device, in torch's order."""
        if self.missing() is not None:
            return []
        return [self._device(i) for i in range(self._module.device_count())]

    def _device(self, index: int) -> Device:
        properties: Any = self._module.get_device_properties(index)
        uuid = getattr(properties, "uuid", None)
        return Device(
            name=properties.name,
            memory_bytes=properties.total_memory,
            uuid=None if uuid is None else str(uuid),
            pci_bus_id=_pci_bus_id(properties),
            driver=getattr(properties, "driver_version", None),
            runtime=self.build(),
        )

    def torch_device(self) -> "torch.device":
        """The current device of this type."""
        import torch

        return torch.device(self.device_type, self._module.current_device())

    def mark(self) -> Mark:
        """An event recorded on the current stream."""
        event = self._module.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, start: Mark, end: Mark) -> float:
        """Time between two recorded events, in s; torch gives ms."""
        return float(start.elapsed_time(end)) / 1e3

    def synchronise(self) -> None:
        """Wait for the current device."""
        self._module.synchronize()

    def peaks(self, *, reset: bool) -> Peaks | None:
        """Peaks of torch's caching allocator; ``reset`` starts a new window."""
        peaks = Peaks(
            allocated_bytes=self._module.max_memory_allocated(),
            reserved_bytes=self._module.max_memory_reserved(),
            device_used_bytes=self._device_used_bytes(),
        )
        if reset:
            self._module.reset_peak_memory_stats()
        return peaks

    def _device_used_bytes(self) -> int | None:
        try:
            free, total = self._module.mem_get_info()
        except RuntimeError:
            return None  # some Intel drivers do not tell
        return int(total - free)

    def release(self) -> None:
        """Empty torch's caching allocator."""
        self._module.empty_cache()


def _pci_bus_id(properties: Any) -> str | None:
    """``dddd:bb:dd.0`` of torch's properties; XPU's have no such fields."""
    if not hasattr(properties, "pci_bus_id"):
        return None
    domain, bus = properties.pci_domain_id, properties.pci_bus_id
    return f"{domain:04x}:{bus:02x}:{properties.pci_device_id:02x}.0"
