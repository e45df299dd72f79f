"""Telemetry: memory, power, energy and clocks, one file per vendor behind `base.Telemetry`."""

__all__ = ["open_telemetry"]

import os

from alignmeter.registry import TELEMETRY, load
from alignmeter.telemetry.base import Telemetry


def open_telemetry(accelerator: str, pid: int | None = None) -> Telemetry:
    """The telemetry of that accelerator; where there is none, a null object with the reason.

    ``pid``: whose memory `Sample.memory_process_bytes` is; this process by default. Raises
    `InputError` for an accelerator without a row in the registry.
    """
    opened: Telemetry = load(TELEMETRY, accelerator)(os.getpid() if pid is None else pid)
    return opened
