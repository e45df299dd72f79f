"""The process group of a step's ranks: those of one machine meet over a file and no port."""

__all__ = ["join", "leave", "open_meeting"]

from datetime import timedelta
from typing import Any

import torch.distributed as dist

from alignmeter.accelerators.base import Accelerator
from alignmeter.errors import CellError

_NO_LIMIT = timedelta(days=7)
"""Who drives the ranks ends them; a limit of the group's own would blame whoever waits."""


_PORT = "tcp://"


def open_meeting(address: str) -> tuple[object, str]:
    """A store of this process, at a free port of ``address``, and what `join` takes for it."""
    meeting: Any = dist  # torch exports the name at run time only
    store = meeting.TCPStore(address, 0, is_master=True, wait_for_workers=False)
    return store, f"{_PORT}{address}:{store.port}"


def join(meeting: str, *, rank: int, size: int, accelerator: Accelerator, device: int) -> None:
    """Meet the other ranks: at the file ``meeting``, or at that of `open_meeting`.

    ``device``: this rank's, by its number on this machine.

    Raises `CellError` where there are fewer devices, and where torch knows no way between them.
    """
    if not accelerator.collectives:
        raise CellError(
            "unsupported",
            "impossible",
            f"torch.distributed has no backend for {accelerator.name} devices here",
        )
    accelerator.use(device)
    dist.init_process_group(
        accelerator.collectives,
        store=_store(meeting, size),
        rank=rank,
        world_size=size,
        timeout=_NO_LIMIT,
    )
    dist.barrier()


def _store(meeting: str, size: int) -> Any:
    stores: Any = dist  # torch exports their names at run time only
    if not meeting.startswith(_PORT):
        return stores.FileStore(meeting, size)
    address, _, port = meeting.removeprefix(_PORT).rpartition(":")
    return stores.TCPStore(address, int(port), is_master=False)


def leave() -> None:
    """Part from the other ranks, if there are any."""
    if dist.is_initialized():
        dist.destroy_process_group()
