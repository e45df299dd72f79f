"""Telemetry: memory, power, energy and clocks, one folder per vendor behind `base.Telemetry`."""

__all__ = ["open_telemetry"]

import os

from alignmeter.registry import ACCELERATORS, load
from alignmeter.telemetry.base import Telemetry


def open_telemetry(accelerator: str, pid: int | None = None) -> Telemetry:
    """The telemetry that the accelerator's row names; without one, a null object with the reason.

    ``pid``: whose memory `Sample.memory_process_bytes` is; this process by default. Raises
    `InputError` for an accelerator without a row in the registry.
    """
    row = load(ACCELERATORS, accelerator)
    opened: Telemetry = row.open_telemetry(os.getpid() if pid is None else pid)
    return opened
