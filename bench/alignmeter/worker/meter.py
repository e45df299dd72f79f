"""The worker's view of its device's telemetry: who the device is, and readings at step edges."""

__all__ = ["Meter"]

import os

from alignmeter.accelerators.base import Accelerator, Device
from alignmeter.telemetry import open_telemetry
from alignmeter.telemetry.base import Sample, Telemetry, nothing_read
from alignmeter.telemetry.matching import find_device
from alignmeter.telemetry.timeout import WithTimeout
from alignmeter.worker.messages import Target


class Meter:
    """The telemetry of the device that this process computes on."""

    def __init__(self, accelerator: Accelerator, telemetry: Telemetry | None = None) -> None:
        """``telemetry``: the accelerator's own by default, guarded against a driver that hangs."""
        self._telemetry = telemetry or WithTimeout(lambda: open_telemetry(accelerator.name))
        self.target = self._find(accelerator)

    def _find(self, accelerator: Accelerator) -> Target:
        probe = self._telemetry.probe()
        if not probe.available:
            remedy = f"; {probe.remedy}" if probe.remedy else ""
            return Target(device=None, reason=f"{probe.reason}{remedy}")
        index = accelerator.torch_device().index or 0
        current = accelerator.devices()[index]
        try:
            device = self._key(accelerator, index, current)
            return Target(
                device=device,
                library=probe.library,
                identity=self._telemetry.identity(device),
                capabilities=self._telemetry.capabilities(device),
            )
        except (LookupError, TimeoutError) as error:
            return Target(device=None, reason=str(error), library=probe.library)

    def _key(self, accelerator: Accelerator, index: int, current: Device) -> str:
        """By UUID or bus id; else, if torch has neither or several share one, by the masks."""
        try:
            return find_device(self._telemetry, current.uuid, current.pci_bus_id)
        except LookupError:
            named = [(key, self._telemetry.identity(key)) for key in self._telemetry.devices()]
            seen = accelerator.visible(os.environ, named).devices
            if seen is None or index >= len(seen):
                raise
            return seen[index]

    def read(self) -> Sample:
        """The device's figures now; none, each with the reason, where it cannot be read."""
        if self.target.device is None:
            return nothing_read(self.target.reason or "no device")
        return self._telemetry.read(self.target.device)

    def close(self) -> None:
        """Let the library go."""
        self._telemetry.close()
