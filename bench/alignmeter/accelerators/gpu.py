"""What CUDA, ROCm and XPU devices have in common through torch's device modules."""

__all__ = ["Gpu"]

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from alignmeter.accelerators.base import Accelerator, Device, Mark, Peaks
from alignmeter.errors import CellError
from alignmeter.records.record import VRAM
from alignmeter.telemetry.device_nodes import device_nodes, open_device_nodes

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Gpu(Accelerator):
    """A device behind one of torch's modules, such as ``torch.cuda``; vendor files give the facts.

    Runs on the device that torch calls current: the first visible one unless masked otherwise.
    ``build``: the toolkit version that this torch was built for, ``None`` if it was not.
    ``install``: what has such a build. ``capability``: the highest compute capability of the
    devices here, found without opening one. ``unreported_cache_bytes``: of a cache between the last
    that the runtime tells of and the memory, the largest that any of these devices has.
    """

    build: Callable[[], str | None]
    install: str
    capability: Callable[[], tuple[int, int] | None] = lambda: None
    unreported_cache_bytes: int = 0
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
            named = (f"{n}={os.environ[n]}" for n in self.visible_variables if n in os.environ)
            masks = " ".join(named)
            if masks:
                return f"torch sees no such device: {masks} leaves none, or the driver fails"
            return "torch sees no such device; check the driver: the vendor's own tool says more"
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
            chip=_chip(properties),
        )

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """torch's own answer would open the device."""
        capability = None if self.ruled_out() else self.capability()
        if capability is None:
            yield
            return
        module: Any = self._module
        before = module.get_device_capability
        module.get_device_capability = lambda _=None: capability
        try:
            yield
        finally:
            module.get_device_capability = before

    def broken_by_fork(self) -> bool:
        """As torch knows it of its own doing, or by the files that this process inherited.

        Where there is no driver torch says so too: its CUDA build asks the runtime then.
        """
        if self.ruled_out() is not None:
            return False
        # torch says so of CUDA (2.9 to 2.13) and of XPU; ROCm is its CUDA.
        noticed = getattr(self._module, "_is_in_bad_fork", lambda: False)
        return bool(noticed()) or bool(open_device_nodes(os.getpid(), self.context_nodes))

    def torch_device(self) -> "torch.device":
        """The current device of this type."""
        import torch

        return torch.device(self.device_type, self._module.current_device())

    def use(self, number: int) -> None:
        """Make it torch's current device."""
        count = self._module.device_count()
        if number >= count:
            raise CellError(
                "unsupported",
                "accelerator_missing",
                f"a step of {number + 1} or more {self.name} devices, and {count} can be used here",
            )
        self._module.set_device(number)

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

    def cache_bytes(self) -> int | None:
        """By torch's properties, which say it in two words, or of a cache that they leave out."""
        device = self._module.get_device_properties(self._module.current_device())
        told = (getattr(device, name, 0) for name in ("L2_cache_size", "last_level_cache_size"))
        return max(self.unreported_cache_bytes, *told) or None

    def peaks(self, *, reset: bool) -> Peaks | None:
        """Peaks of torch's caching allocator; ``reset`` starts a new window."""
        peaks = Peaks(
            allocated_bytes=self._module.max_memory_allocated(),
            reserved_bytes=self._module.max_memory_reserved(),
            allocated_now_bytes=self._module.memory_allocated(),
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


def _chip(properties: Any) -> str | None:
    """``sm_90`` or ``gfx942``, as compilers call it; XPU's properties have no such name."""
    architecture = getattr(properties, "gcnArchName", "")
    if architecture.startswith("gfx"):
        return str(architecture.partition(":")[0])
    major, minor = getattr(properties, "major", None), getattr(properties, "minor", None)
    return None if major is None or minor is None else f"sm_{major}{minor}"
