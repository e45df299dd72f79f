"""What is shared out over ranks, made whole: weights for many calls, and single tensors."""

__all__ = ["gathered", "shared_again", "whole"]

import contextlib
from collections.abc import Iterator

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from alignmeter.parallel.roots import root_of, within


@contextlib.contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Within the context every weight of ``model`` is whole on each device; afterwards a share.

    Without it each call gathers block by block, and frees a block when it has run. For calls
    without a gradient. A model that is not sharded is left as it is.
    """
    root = root_of(model)
    if root is None:
        yield
        return
    within(model, lambda: None)  # the first call is what tells FSDP which module is the root
    blocks = [m for m in root.modules() if isinstance(m, FSDPModule) and m is not root]
    for block in blocks:
        block.set_reshard_after_forward(False, recurse=False)
        block.unshard()
    root.unshard()
    try:
        yield
    finally:
        for block in blocks:
            block.set_reshard_after_forward(True, recurse=False)
            block.reshard()
        root.reshard()


def shared_again(model: nn.Module) -> None:
    """Leave a share of what the last call of ``model`` has left whole: a root that trains waits for
    its backward pass, and some calls have none.
    """
    root = root_of(model)
    if root is not None:
        root.reshard()


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor of which this rank has a share or a summand; a plain tensor itself.

    All ranks have to ask for it.
    """
    found: torch.Tensor = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return found
