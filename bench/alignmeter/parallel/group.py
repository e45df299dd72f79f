"""The process group of a step's ranks, which meet over a file and no port."""

__all__ = ["join", "leave"]

from datetime import timedelta
from typing import Any

import torch.distributed as dist

from alignmeter.accelerators.base import Accelerator
from alignmeter.errors import CellError

_NO_LIMIT = timedelta(days=7)
"""Who drives the ranks ends them; a limit of the group's own would blame whoever waits."""


def join(store: str, *, rank: int, size: int, accelerator: Accelerator) -> None:
    """Meet the other ranks at the file ``store``, this one on the device of its number.

    Raises `CellError` where there are fewer devices, and where torch knows no way between them.
    """
    if not accelerator.collectives:
        raise CellError(
            "unsupported",
            "impossible",
            f"torch.distributed has no backend for {accelerator.name} devices here",
        )
    accelerator.use(rank)
    meeting: Any = dist  # torch exports the name at run time only
    dist.init_process_group(
        accelerator.collectives,
        store=meeting.FileStore(store, size),
        rank=rank,
        world_size=size,
        timeout=_NO_LIMIT,
    )
    dist.barrier()


def leave() -> None:
    """Part from the other ranks, if there are any."""
    if dist.is_initialized():
        dist.destroy_process_group()
