"""Ranks that need not be there: this process takes a step as one of them."""

__all__ = ["fake_ranks"]

import contextlib
import warnings
from collections.abc import Iterator

import torch.distributed as dist

from alignmeter.worker.memory.torch_internals import fake_store

_KNOWN = ("FSDP2-wrapped module", "`torch.distributed.all_gather_into_tensor`")
"""Begins of warnings: of views that a root gives, which nobody here changes in place, and of a name
that torch 2.13 deprecates and earlier versions have alone.
"""


@contextlib.contextmanager
def fake_ranks(size: int) -> Iterator[None]:
    """Within the context torch's process group has ``size`` ranks, of which this is number 0.

    Their collectives have the right shapes and move nothing. All ranks hold as much as this one: a
    share that does not divide is rounded up here (`torch.chunk`), so that none is larger.
    """
    if size == 1:
        yield
        return
    dist.init_process_group("fake", store=fake_store(), rank=0, world_size=size)
    try:
        with warnings.catch_warnings():
            for begin in _KNOWN:
                warnings.filterwarnings("ignore", message=begin)
            yield
    finally:
        dist.destroy_process_group()
