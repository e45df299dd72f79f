"""What the ranks of this machine reach between them: measured by workers of their own, and kept."""

__all__ = ["kept_links", "links_folder", "measure_links"]

import contextlib
from datetime import UTC, datetime
from pathlib import Path

from platformdirs import user_cache_path

from alignmeter import __version__
from alignmeter.accelerators import device_or_host, missing_text, open_accelerator
from alignmeter.accelerators.device_query import query
from alignmeter.accelerators.imported import installed_versions
from alignmeter.cells.cell import digest
from alignmeter.errors import InputError
from alignmeter.records.folder import write_bytes
from alignmeter.records.links import SCHEMA_VERSION, MeasuredLinks, decode_links, encode_links
from alignmeter.session.launcher import Launcher
from alignmeter.units import MIB

SIZES = tuple(4**power for power in range(5, 14))
"""Bytes of whole tensors: 1 KiB to 64 MiB, the most that a process on a CPU sends in a moment."""
LARGE = 512 * MIB
"""One more where devices have memory of their own."""
_TIMEOUT_S = 300.0
_FEWEST = 2


def links_folder() -> Path:
    """Folder of what was measured on this machine, one file ``<key>.json`` each."""
    return user_cache_path("alignmeter", appauthor=False) / "links"


def _path(accelerator: str, world_size: int) -> Path:
    """By the device's model, how many, and torch's version."""
    device, torch = device_or_host(accelerator).name, installed_versions().get("torch")
    return links_folder() / f"{digest([SCHEMA_VERSION, device, world_size, torch])}.json"


def kept_links(accelerator: str, world_size: int) -> MeasuredLinks | None:
    """What was measured here of so many devices; ``None`` if nothing was."""
    path = _path(accelerator, world_size)
    with contextlib.suppress(OSError, InputError):
        return decode_links(path.read_bytes(), str(path))
    return None


def measure_links(
    accelerator: str, launcher: Launcher, world_size: int | None = None
) -> MeasuredLinks:
    """Measure them now, between all devices or ``world_size`` of them, and keep the figures.

    Processes on a CPU have no number of their own: two. Raises `InputError` where there are fewer
    than two devices or than asked for, and `CellError` where a worker fails.
    """
    size = _world_size(accelerator, world_size)
    opened = open_accelerator(accelerator)
    sizes = SIZES if not opened.device_nodes else (*SIZES, LARGE)
    launcher.begin_round(0)
    crew = launcher.crew(size, accelerator)
    try:
        collectives = crew.call("links", accelerator, sizes, timeout_s=_TIMEOUT_S)
    except BaseException:
        crew.kill()
        raise
    crew.close()
    found = MeasuredLinks(
        schema_version=SCHEMA_VERSION,
        alignmeter=__version__,
        torch=installed_versions().get("torch", "unknown"),
        accelerator=accelerator,
        device=device_or_host(accelerator).name,
        world_size=size,
        backend=opened.collectives,
        measured=datetime.now(UTC),
        collectives=collectives,
    )
    with contextlib.suppress(InputError):  # a home that cannot be written costs a repetition only
        write_bytes(_path(accelerator, size), encode_links(found))
    return found


def _world_size(accelerator: str, asked: int | None) -> int:
    absent = missing_text(accelerator)
    if absent is not None:
        raise InputError(absent)
    if asked is not None and asked < _FEWEST:
        raise InputError(f"--world-size {asked} has no link; it takes {_FEWEST} devices or more")
    if not open_accelerator(accelerator).device_nodes:  # as many as there are processes
        return asked or _FEWEST
    here = len(query(accelerator).devices)
    if here < (asked or _FEWEST):
        raise InputError(
            f"{here} {accelerator} device{'' if here == 1 else 's'} here, and links are measured "
            f"between {asked or _FEWEST} or more; --accelerator cpu measures two processes"
        )
    return asked or here
