"""The processes that take a step together: whose rows are whose, and figures over all of them."""

__all__ = ["ALONE", "Ranks", "open_ranks"]

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from alignmeter.batches import Batch
from alignmeter.batches.batch import BatchRows
from alignmeter.batches.parts import part_of, part_rows
from alignmeter.cells.cell import Cell

Tensor = torch.Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranks:
    """``size`` processes, each with one device, of which this one is number ``rank``.

    Every rank is given the whole batch of a step and takes its own rows of it, as many as any other
    (a batch that does not divide is refused). What a loss needs to know of all rows, such as a mean
    over real tokens or the spread of advantages, is computed as on one device: of the whole batch,
    or of what `joined` brings together. With one rank each method gives back what it was given.
    """

    rank: int = 0
    size: int = 1
    mesh: DeviceMesh | None = None
    """Over which weights are shared out, and gradients averaged; ``None`` for one rank."""

    def part(self, batch: Batch, rows: BatchRows) -> Batch:
        """The rows of ``batch`` that are this rank's."""
        return batch if self.size == 1 else part_of(batch, self.rank, self.size, rows)

    def places(self, batch: Batch, rows: BatchRows) -> list[list[int]]:
        """Of each rank the places in ``batch`` of its rows."""
        return [part_rows(batch, rank, self.size, rows) for rank in range(self.size)]

    def joined(self, own: Tensor) -> Tensor:
        """[W * n, ...] of ``own`` [n, ...], which every rank gives: rank after rank; no gradient.

        Of ``groups`` and ``chosen`` that is the order of the batch, of pairs it is not.
        """
        if self.size == 1:
            return own
        found = own.new_empty(self.size * len(own), *own.shape[1:])
        dist.all_gather_into_tensor(found, own.detach().contiguous())
        return found

    def own(self, joined: Tensor) -> Tensor:
        """The rows of this rank in what `joined` gave."""
        return joined if self.size == 1 else joined.chunk(self.size)[self.rank]

    def total(self, values: Tensor) -> Tensor:
        """The sum over all ranks of ``values``; no gradient."""
        if self.size == 1:
            return values
        found = values.detach().clone()
        dist.all_reduce(found)
        return found

    def largest(self, count: int) -> int:
        """The largest of the counts that the ranks give."""
        if self.size == 1:
            return count
        counts: list[int | None] = [None] * self.size
        dist.all_gather_object(counts, count)
        return max(given for given in counts if given is not None)


ALONE = Ranks()
"""One process with one device."""


def open_ranks(cell: Cell, device: torch.device) -> Ranks:
    """Those of the cell. Raises `ValueError` where torch's process group is not of its size."""
    if cell.world_size == 1:
        return ALONE
    size = dist.get_world_size() if dist.is_initialized() else 1
    if size != cell.world_size:
        raise ValueError(f"the process group has {size} ranks, the cell {cell.world_size}")
    return Ranks(rank=dist.get_rank(), size=size, mesh=_mesh(cell, device))


def _mesh(cell: Cell, device: torch.device) -> DeviceMesh:
    if cell.parallel == "ddp":
        names = ("replicate", "shard")
        return init_device_mesh(device.type, (cell.world_size, 1), mesh_dim_names=names)
    return init_device_mesh(device.type, (cell.world_size,))
