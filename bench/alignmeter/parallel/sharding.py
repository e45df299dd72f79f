"""Models shared out over ranks by FSDP2 (`torch.distributed.fsdp.fully_shard`)."""

__all__ = ["shard"]

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from alignmeter.architectures import ScalarModel
from alignmeter.architectures.late_weights import late_of
from alignmeter.architectures.precision import precision_of
from alignmeter.cells.cell import Cell
from alignmeter.parallel.roots import attach
from alignmeter.peft.adapters import AdapterView


def shard(models: Mapping[str, nn.Module], cell: Cell, mesh: DeviceMesh) -> None:
    """Leave each rank its share of every weight of ``models``, in place: their parameters are
    `DTensor` from here on, and optimizers are to be made of those.

    One root for each backbone, a unit for each of its blocks. A head on a backbone that an earlier
    model holds belongs to that model's root, and is entered through it (`roots.within`). With
    ``parallel = ddp`` every rank is a shard of one: it holds all, and gradients are averaged.
    Gradients are means over ranks. A backbone that has no weights yet (`Late`) gets them block by
    block, each shared before the next: no rank has more than one whole.

    Raises `ValueError` for a backbone without a list of blocks.
    """
    policy = _policy(cell)
    roots: dict[int, nn.Module] = {}
    shared: list[tuple[nn.Module, nn.Module]] = []
    for name, model in models.items():
        scalar = model.scalar if isinstance(model, AdapterView) else model
        root = roots.setdefault(id(_backbone(scalar)), scalar)
        if root is not scalar:
            _hold(root, name, scalar)
        shared.append((root, model))
    for root in roots.values():
        trains = any(parameter.requires_grad for parameter in root.parameters())
        late = late_of(_backbone(root))
        for block in _blocks(root):
            if late is not None:
                late.fill(block)
            fully_shard(block, mesh=mesh, mp_policy=policy)
        if late is not None:
            late.fill(None)
        # What trains needs its root again at once, in the backward pass: ``None`` keeps that.
        fully_shard(
            root, mesh=mesh, mp_policy=policy, reshard_after_forward=None if trains else True
        )
    for root, model in shared:
        attach(root, model)


def _hold(root: nn.Module, name: str, scalar: Any) -> None:
    """A head becomes a child of the root whose backbone it reads."""
    root.add_module(f"{name}_head", nn.ModuleDict({"score": scalar.score}))


def _policy(cell: Cell) -> MixedPrecisionPolicy:
    """In place of autocast, whose cache of cast weights would hold all of them whole."""
    dtype = precision_of(cell.precision).autocast
    if dtype is None:
        return MixedPrecisionPolicy()
    return MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)


def _backbone(model: Any) -> Any:
    return model.backbone if isinstance(model, ScalarModel) else model.base_model


def _blocks(root: Any) -> Iterator[nn.Module]:
    """Those of its backbone, in order."""
    backbone = _backbone(root)
    lists = [child for child in backbone.children() if isinstance(child, nn.ModuleList)]
    if not lists:
        raise ValueError(f"{type(backbone).__name__} has no list of blocks to shard")
    for blocks in lists:
        yield from blocks
