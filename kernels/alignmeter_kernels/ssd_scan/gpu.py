"""`ssd_scan` on Triton: tiles for each chip, grids, and the sums of parts."""

__all__ = ["backward", "forward"]

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from alignmeter_kernels.launch import Tile, filling, launch, pick
from alignmeter_kernels.layout import dense

Tensor = torch.Tensor

_CARRY = {
    "default": Tile(blocks={"Q": 64, "BP": 32, "BN": 128}, warps=8, stages=1),
    "sm_": Tile(blocks={"Q": 64, "BP": 32, "BN": 128}, warps=4, stages=2),
    "gfx9": Tile(blocks={"Q": 64, "BP": 32, "BN": 128}, warps=4, stages=2),
    "interpreter": Tile(blocks={"Q": 16, "BP": 16, "BN": 16}),
}
"""Q is the chunk and BN the block of states of every function; where a batch is small, those that
walk from chunk to chunk take smaller blocks of the state (`_CARRIED`)."""
_CARRIED = ((32, 128), (16, 128), (16, 64), (16, 32))
"""BP and BN of a function that walks, the first for a batch that fills a chip. It has a program for
each block of a head's state, which takes one chunk after the other."""
_CHUNK = {
    "default": Tile(blocks={"BP": 32}, warps=8, stages=1),
    "sm_": Tile(blocks={"BP": 64}, warps=4, stages=2),
    "sm_80": Tile(blocks={"BP": 32}, warps=4, stages=2),
    "sm_10": Tile(blocks={"BP": 32}, warps=8, stages=2),
    "gfx9": Tile(blocks={"BP": 64}, warps=8, stages=1),
    "interpreter": Tile(blocks={"BP": 16}),
}
_GRADIENTS = {
    "default": Tile(blocks={"BP": 32}, warps=8, stages=1),
    "sm_": Tile(blocks={"BP": 32}, warps=4, stages=2),
    "sm_80": Tile(blocks={"BP": 16}, warps=4, stages=2),
    "sm_10": Tile(blocks={"BP": 16}, warps=4, stages=1),
    "sm_120": Tile(blocks={"BP": 16}, warps=4, stages=1),
    "gfx9": Tile(blocks={"BP": 32}, warps=4, stages=1),
    "interpreter": Tile(blocks={"BP": 16}),
}
_WIDE_CARRY = {
    "default": Tile(blocks={"Q": 32, "BP": 32, "BN": 32}, warps=4, stages=2),
    "interpreter": Tile(blocks={"Q": 16, "BP": 16, "BN": 16}),
}
"""Wide: for fp32, whose operands take twice the room, and on NVIDIA no matrix unit."""
_WIDE_CHUNK = {
    "default": Tile(blocks={"BP": 16}, warps=8, stages=1),
    "gfx9": Tile(blocks={"BP": 32}, warps=8, stages=1),
    "interpreter": Tile(blocks={"BP": 16}),
}
_WIDE_OUTPUTS = _WIDE_CHUNK | {"gfx9": Tile(blocks={"BP": 64}, warps=8, stages=1)}
"""`chunk_outputs` of fp32: going through two blocks of a head took more scalar registers than CDNA
has (Triton 3.6 spilt 10 to 14, 3.9 none); in one block of 64 neither spills."""
_WIDE_GRADIENTS = {
    "default": Tile(blocks={"BP": 16}, warps=4, stages=1),
    "gfx9": Tile(blocks={"BP": 32}, warps=4, stages=1),
    "interpreter": Tile(blocks={"BP": 16}),
}
_PROGRAMS = 512
"""Wanted at least: two to four for each of the 80 to 304 compute units of today's chips."""


def forward(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, first: Tensor | None
) -> tuple[Tensor, Tensor]:
    """``y`` and the last state, as `portable.forward`."""
    from alignmeter_kernels.ssd_scan import kernel

    x, dt, A, B, C, D, first = dense(x, dt, A, B, C, D, first)
    entries, last = _carry(kernel.chunk_states, x, dt, A, B, first)
    y = torch.empty_like(x)
    tensors, tile = (x, dt, A, B, C, D, entries, y), _tile(x, _CHUNK, _WIDE_OUTPUTS)
    _per_chunk(kernel.chunk_outputs, x, B, _splits(x, B), tensors, tile=tile)
    return y, last


def backward(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, first: Tensor | None,
    dy: Tensor, dlast: Tensor,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Gradients of x, dt, A, B, C, D and the first state, as `portable.backward`."""
    from alignmeter_kernels.ssd_scan import kernel, kernel_gradients

    x, dt, A, B, C, D, first, dy, dlast = dense(x, dt, A, B, C, D, first, dy, dlast)
    entries, _ = _carry(kernel.chunk_states, x, dt, A, B, first)
    exits, dfirst = _carry(kernel.chunk_state_grads, dy, dt, A, C, dlast)
    (rows, chunks, heads), groups, splits = entries.shape[:3], B.shape[2], _splits(x, B)
    size = _tile(x, _CARRY, _WIDE_CARRY).blocks["Q"]
    pairs = dt.new_empty(rows, chunks, groups * splits, size, size)
    dx, ddt, crossing = torch.empty_like(x), torch.empty_like(dt), torch.empty_like(dt)
    dA, dD = (dt.new_empty(rows, chunks, heads) for _ in range(2))
    dB, dC = (dt.new_empty(*B.shape[:3], splits, B.shape[3]) for _ in range(2))
    tensors: tuple[Tensor | None, ...] = x, dt, A, B, C, dy, pairs, crossing
    _per_chunk(kernel_gradients.chunk_pairs, x, B, splits, tensors)
    tensors = x, dt, A, B, C, D, dy, entries, exits, crossing, dx, ddt, dA, dD
    tile = _tile(x, _GRADIENTS, _WIDE_GRADIENTS)
    _per_chunk(kernel_gradients.chunk_gradients, x, B, heads // groups, tensors, tile=tile)
    tensors = x, dt, A, C, exits, pairs, dB
    _per_chunk(kernel_gradients.b_gradients, x, B, splits, tensors, whole=False)
    tensors = dy, dt, A, B, entries, pairs, dC
    _per_chunk(kernel_gradients.c_gradients, x, B, splits, tensors, whole=False)
    dD = torch.zeros_like(A) if D is None else dD.sum((0, 1))
    return dx, ddt, dA.sum((0, 1)), dB.sum(3).to(B.dtype), dC.sum(3).to(C.dtype), dD, dfirst


def _tile(values: Tensor, narrow: Mapping[str, Tile], wide: Mapping[str, Tile]) -> Tile:
    return pick(wide if values.dtype == torch.float32 else narrow)


def _carry(
    function: Any, values: Tensor, dt: Tensor, A: Tensor, keys: Tensor, first: Tensor | None
) -> tuple[Tensor, Tensor]:
    """States between chunks, in the dtype of the products that they enter, and the last in fp32."""
    (rows, length, heads, width), (groups, n) = values.shape, keys.shape[2:]
    most = _tile(values, _CARRY, _WIDE_CARRY)

    def blocks(tile: Tile) -> int:
        return -(-width // _block(tile, "BP", width)) * -(-n // _block(tile, "BN", n))

    tile = filling(_smaller(most), lambda tile: heads * rows * blocks(tile))
    kept = values.new_empty(rows, -(-length // tile.blocks["Q"]), heads, width, n)
    last = dt.new_empty(rows, heads, width, n)
    launch(
        function, (heads, rows, blocks(tile)), values, dt, A, keys,
        first, kept, last, length, heads, width, groups, n,
        tile=tile, BP=_block(tile, "BP", width), BN=_block(tile, "BN", n), PRECISION="ieee",
    )  # fmt: skip
    return kept, last


def _smaller(tile: Tile) -> list[Tile]:
    """``tile``, and the same with the smaller blocks of `_CARRIED`."""
    most = tile.blocks
    sizes = [(min(most["BP"], bp), min(most["BN"], bn)) for bp, bn in _CARRIED]
    return [replace(tile, blocks={**most, "BP": bp, "BN": bn}) for bp, bn in dict.fromkeys(sizes)]


def _splits(x: Tensor, B: Tensor) -> int:
    """Programs that share the heads of a group, in one chunk of a row."""
    (rows, length, heads, _), groups = x.shape, B.shape[2]
    shared, chunks = heads // groups, -(-length // _tile(x, _CARRY, _WIDE_CARRY).blocks["Q"])
    wanted = min(shared, -(-_PROGRAMS // max(1, rows * chunks * groups)))
    return -(-shared // -(-shared // wanted))


def _per_chunk(
    function: Any, x: Tensor, B: Tensor, splits: int, tensors: tuple[Tensor | None, ...], *,
    tile: Tile | None = None, whole: bool = True,
) -> None:  # fmt: skip
    """A program for each chunk of a row, and for each of the ``splits`` of a group's heads.

    ``whole``: it goes through all blocks of the states; otherwise each block has its own.
    """
    (rows, length, heads, width), (groups, n) = x.shape, B.shape[2:]
    tile, carry = tile or _tile(x, _CHUNK, _WIDE_CHUNK), _tile(x, _CARRY, _WIDE_CARRY)
    bp, bn, size = _block(tile, "BP", width), _block(carry, "BN", n), carry.blocks["Q"]
    blocks = -(-n // bn)
    grid = -(-length // size) * (1 if whole else blocks), rows, groups * splits
    launch(
        function, grid, *tensors, length, heads, width, groups, n, -(-(heads // groups) // splits),
        tile=tile, Q=size, BP=bp, BN=bn, PB=-(-width // bp), NB=blocks, PRECISION="ieee",
    )  # fmt: skip


def _block(tile: Tile, name: str, size: int) -> int:
    """The tile's block, or the power of two that holds ``size``; no matrix unit takes under 16."""
    return min(tile.blocks[name], max(16, 1 << (size - 1).bit_length()))
