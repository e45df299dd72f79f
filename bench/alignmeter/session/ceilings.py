"""What a device reaches that no table has: measured once by a worker of its own, and kept."""

__all__ = ["ceilings_folder", "obtain_ceilings"]

import contextlib
from pathlib import Path

import msgspec
from platformdirs import user_cache_path

from alignmeter.accelerators import open_accelerator
from alignmeter.analysis.roofline import MeasuredCeilings
from alignmeter.cells.cell import digest
from alignmeter.errors import CellError, InputError
from alignmeter.records.folder import write_bytes
from alignmeter.records.record import Provenance
from alignmeter.session.launcher import Launcher

_VERSION = 1
"""Of how they are measured."""
_TIMEOUT_S = 60.0


def ceilings_folder() -> Path:
    """Folder of what was measured on this machine, one file ``<key>.json`` each."""
    return user_cache_path("alignmeter", appauthor=False) / "ceilings"


def _path(place: Provenance) -> Path:
    """By the device's model, threads, torch's version and the variables that change a step."""
    torch = place.versions.get("torch")
    key = digest([_VERSION, place.device, place.threads, torch, place.environment])
    return ceilings_folder() / f"{key}.json"


def obtain_ceilings(
    accelerator: str, place: Provenance, launcher: Launcher
) -> MeasuredCeilings | None:
    """Those kept of the device of ``place``, or measured now; ``None`` where a table has them, or
    where the worker failed.
    """
    if not open_accelerator(accelerator).measures_ceilings:
        return None
    path = _path(place)
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(path.read_bytes(), type=MeasuredCeilings)
    try:
        found = _measured(accelerator, launcher)
    except CellError:
        return None
    with contextlib.suppress(InputError):  # a home that cannot be written costs a repetition only
        write_bytes(path, msgspec.json.encode(found))
    return found


def _measured(accelerator: str, launcher: Launcher) -> MeasuredCeilings:
    worker = launcher.start()
    try:
        found: MeasuredCeilings = worker.call("ceilings", accelerator, timeout_s=_TIMEOUT_S)
    except BaseException:
        worker.kill()
        raise
    worker.close()
    return found
