"""What torch's caching allocator asks of a GPU's driver for a sequence of allocations.

The rules are those of ``c10/cuda/CUDACachingAllocator.cpp`` (torch 2.13; ROCm and XPU have the
same) with its default settings. Sizes are in blocks of 512 bytes. Up to 1 MiB they come from
segments of 2 MiB, above that from segments of 20 MiB, and from 10 MiB on from one of the size
itself, in multiples of 2 MiB. Taken is the smallest free block that is large enough; it is split
where 512 bytes are left of a small one, or more than 1 MiB of a large one. Neighbours that are free
are joined. No segment is given back.
"""

__all__ = ["CachingAllocator", "reserved_peak"]

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from alignmeter.units import MIB
from alignmeter.worker.memory.allocations import Storage

_LEAST = 512
_SMALL = MIB
_SMALL_SEGMENT, _LARGE_SEGMENT = 2 * MIB, 20 * MIB
_OWN_SEGMENT = 10 * MIB
"""From this size on an allocation gets a segment of its own size."""
_WHOLE = 2 * MIB
_STEPS = 2
"""The second step finds what the first left; from then on every one is alike."""


@dataclass(slots=True, eq=False)
class _Block:
    """A part of a segment, free or in use, between its neighbours there."""

    address: int
    size: int
    small: bool
    before: "_Block | None" = None
    after: "_Block | None" = None
    free: bool = False


@dataclass(slots=True)
class CachingAllocator:
    """Segments of a device without limits; what it was given is `reserved_bytes`."""

    reserved_bytes: int = 0
    allocated_bytes: int = 0
    _free: dict[bool, list[tuple[int, int, _Block]]] = field(
        default_factory=lambda: {True: [], False: []}
    )

    def allocate(self, nbytes: int) -> _Block:
        """A block of at least that many bytes; pass it to `release` once."""
        size = max(_LEAST, _multiple(nbytes, _LEAST))
        small = size <= _SMALL
        block = self._best(size, small) or self._segment(size, small)
        left = block.size - size
        if left >= _LEAST if small else left > _SMALL:
            self._split(block, size)
        self.allocated_bytes += block.size
        return block

    def release(self, block: _Block) -> None:
        """The block is free again, as one with neighbours that are."""
        self.allocated_bytes -= block.size
        for other in (block.before, block.after):
            if other is not None and other.free:
                self._forget(other)
                _join(block, other)
        block.free = True
        insort(self._free[block.small], _key(block))

    def _best(self, size: int, small: bool) -> _Block | None:
        pool = self._free[small]
        at = bisect_left(pool, (size,))
        if at == len(pool):
            return None
        block = pool.pop(at)[2]
        block.free = False
        return block

    def _segment(self, size: int, small: bool) -> _Block:
        if small:
            length = _SMALL_SEGMENT
        else:
            length = _LARGE_SEGMENT if size < _OWN_SEGMENT else _multiple(size, _WHOLE)
        block = _Block(self.reserved_bytes, length, small)
        self.reserved_bytes += length
        return block

    def _split(self, block: _Block, size: int) -> None:
        rest = _Block(
            block.address + size, block.size - size, block.small, block, block.after, free=True
        )
        if block.after is not None:
            block.after.before = rest
        block.size, block.after = size, rest
        insort(self._free[block.small], _key(rest))

    def _forget(self, block: _Block) -> None:
        pool = self._free[block.small]
        del pool[bisect_left(pool, _key(block)[:2])]


def _key(block: _Block) -> tuple[int, int, _Block]:
    # Addresses differ, so blocks themselves are never compared.
    return block.size, block.address, block


def _join(block: _Block, other: _Block) -> None:
    """``block`` takes the place of both."""
    if other is block.before:
        block.address, block.before = other.address, other.before
        if block.before is not None:
            block.before.after = block
    else:
        block.after = other.after
        if block.after is not None:
            block.after.before = block
    block.size += other.size


def _multiple(nbytes: int, of: int) -> int:
    return -(-nbytes // of) * of


def reserved_peak(storages: Sequence[Storage], residents: Iterable[int] = ()) -> int:
    """Bytes of all segments once steps repeat: what ``max_memory_reserved`` would say of them.

    ``storages``: of one step in the order of their making, those of before it (``born`` -1) first.
    ``residents``: sizes of allocations beside them that stay. What building models and a first step
    without optimizer state took beside that, and fragments of other shapes, are not in it.
    """
    allocator = CachingAllocator()
    for nbytes in residents:
        allocator.allocate(nbytes)
    kept = [storage for storage in storages if storage.nbytes]
    blocks = {id(s): allocator.allocate(s.nbytes) for s in kept if s.born < 0}
    made = [storage for storage in kept if storage.born >= 0]
    ends = sorted((s.died, n, s) for n, s in enumerate(kept) if s.died is not None)
    for _ in range(_STEPS):
        _replay(allocator, blocks, made, [storage for _, _, storage in ends])
    return allocator.reserved_bytes


def _replay(
    allocator: CachingAllocator,
    blocks: dict[int, _Block],
    made: Sequence[Storage],
    ended: Sequence[Storage],
) -> None:
    """One step; what it leaves behind is given back as the next one makes it anew."""
    gone = iter(ended)
    storage = next(gone, None)
    for new in made:
        while storage is not None and (storage.died or 0) <= new.born:
            _release(allocator, blocks, storage)
            storage = next(gone, None)
        _release(allocator, blocks, new)
        blocks[id(new)] = allocator.allocate(new.nbytes)
    while storage is not None:
        _release(allocator, blocks, storage)
        storage = next(gone, None)


def _release(allocator: CachingAllocator, blocks: dict[int, _Block], storage: Storage) -> None:
    block = blocks.pop(id(storage), None)
    if block is not None:
        allocator.release(block)
