"""`nf4_linear` on Triton: tiles for each chip, grids, and the scales of a call."""

__all__ = ["backward", "forward"]

import math
from collections.abc import Sequence
from typing import Any

import torch

from alignmeter_kernels.launch import Tile, filling, launch, pick
from alignmeter_kernels.nf4_linear.reference import CODES, NESTED, Nf4Weight
from alignmeter_kernels.planning import table

Tensor = torch.Tensor

# W is dequantised again for each BM tokens, so BM is large where registers allow it. Chosen from
# what the compilers report (registers, shared memory, no spills); not timed on any of these chips.
_FORWARD_TILES = {
    "default": Tile(blocks={"BM": 64, "BN": 64, "BK": 32}, warps=4, stages=2),
    "sm_": Tile(blocks={"BM": 128, "BN": 128, "BK": 64}, warps=8, stages=3),
    "sm_90": Tile(blocks={"BM": 256, "BN": 64, "BK": 64}, warps=8, stages=3),
    "sm_10": Tile(blocks={"BM": 256, "BN": 64, "BK": 64}, warps=8, stages=3),
    "gfx9": Tile(blocks={"BM": 256, "BN": 64, "BK": 64}, warps=8, stages=2),
    "interpreter": Tile(blocks={"BM": 16, "BN": 32, "BK": 16}),
}
_BACKWARD_TILES = {
    "default": Tile(blocks={"BM": 64, "BN": 32, "BK": 64}, warps=4, stages=2),
    "sm_": Tile(blocks={"BM": 128, "BN": 64, "BK": 128}, warps=8, stages=3),
    "sm_90": Tile(blocks={"BM": 256, "BN": 64, "BK": 64}, warps=8, stages=3),
    "sm_10": Tile(blocks={"BM": 256, "BN": 64, "BK": 64}, warps=8, stages=3),
    "gfx9": Tile(blocks={"BM": 256, "BN": 64, "BK": 64}, warps=8, stages=2),
    "interpreter": Tile(blocks={"BM": 16, "BN": 16, "BK": 128}),
}
_SMALLER_FORWARD = (
    Tile(blocks={"BM": 128, "BN": 64, "BK": 64}, warps=8, stages=2),
    Tile(blocks={"BM": 64, "BN": 64, "BK": 32}, warps=4, stages=2),
    Tile(blocks={"BM": 64, "BN": 32, "BK": 32}, warps=4, stages=2),
)
_SMALLER_BACKWARD = (
    Tile(blocks={"BM": 128, "BN": 64, "BK": 64}, warps=8, stages=2),
    Tile(blocks={"BM": 64, "BN": 32, "BK": 64}, warps=4, stages=2),
    Tile(blocks={"BM": 64, "BN": 32, "BK": 32}, warps=4, stages=2),
)
"""For products too small to give every unit of a chip one of the tiles above: W is dequantised more
often then, by units that would stand idle."""
_FEW = 32
"""Tokens up to which the tiles of decoding are used: reading W costs all, and its rows are shared
out among as many programs as there are."""
_FEW_TILES = {
    "default": Tile(blocks={"BM": 16, "BN": 32, "BK": 64}, warps=4, stages=3),
    "interpreter": Tile(blocks={"BM": 16, "BN": 32, "BK": 64}),
}
_SMALLER_FEW = (Tile(blocks={"BM": 16, "BN": 16, "BK": 64}, warps=4, stages=3),)
_WIDE_TILES = {
    "default": Tile(blocks={"BM": 64, "BN": 32, "BK": 32}, warps=4, stages=2),
    # With 64 rows Triton 3.6 multiplies fp32 as TF32, and cannot compile the backward product.
    "sm_10": Tile(blocks={"BM": 32, "BN": 32, "BK": 32}, warps=4, stages=2),
    "gfx11": Tile(blocks={"BM": 32, "BN": 32, "BK": 32}, warps=4, stages=2),
    "interpreter": Tile(blocks={"BM": 16, "BN": 32, "BK": 16}),
}
"""For fp32, whose operands take twice the room."""
_SMALL_TILES = {
    "default": Tile(blocks={"BM": 32, "BN": 32, "BK": 16}, warps=4, stages=2),
    "interpreter": Tile(blocks={"BM": 16, "BN": 32, "BK": 16}),
}
"""Where blocks cross the ends of rows: each element has a pointer of its own, in registers."""
_SCALE_TILES = {
    "default": Tile(blocks={"BLOCK": 1024}),
    "interpreter": Tile(blocks={"BLOCK": 64}),
}


def forward(x: Tensor, weight: Nf4Weight, bias: Tensor | None) -> Tensor:
    """``x @ W.T + bias`` of a contiguous [T, in]: [T, out]."""
    from alignmeter_kernels.nf4_linear import kernel

    (tokens, width), out = x.shape, weight.shape[0]
    tiles: tuple[Tile, ...] = pick(_FORWARD_TILES), *_SMALLER_FORWARD
    if tokens <= _FEW:
        tiles = pick(_FEW_TILES), *_SMALLER_FEW

    def grid(tile: Tile) -> tuple[int, int]:
        return -(-tokens // tile.blocks["BM"]), -(-out // tile.blocks["BN"])

    tile = filling(_fitting(tiles, x, weight), lambda tile: math.prod(grid(tile)))
    y = x.new_empty(tokens, out)
    launch(
        kernel.transposed_product, grid(tile), x, weight.packed, _scales(weight), _codes(x.device),
        bias, y, tokens, out, width, tile=tile, **_constants(weight, tile),
    )  # fmt: skip
    return y


def backward(dy: Tensor, weight: Nf4Weight) -> Tensor:
    """``dy @ W`` of a contiguous [T, out]: [T, in]."""
    from alignmeter_kernels.nf4_linear import kernel

    (tokens, out), width = dy.shape, weight.shape[1]
    tiles = pick(_BACKWARD_TILES), *_SMALLER_BACKWARD

    def grid(tile: Tile) -> tuple[int, int]:
        return -(-tokens // tile.blocks["BM"]), -(-width // tile.blocks["BK"])

    tile = filling(_fitting(tiles, dy, weight), lambda tile: math.prod(grid(tile)))
    dx = dy.new_empty(tokens, width)
    launch(
        kernel.product, grid(tile), dy, weight.packed, _scales(weight), _codes(dy.device), dx,
        tokens, out, width, tile=tile, **_constants(weight, tile),
    )  # fmt: skip
    return dx


def _whole(weight: Nf4Weight) -> bool:
    """Whether no block crosses the end of a row."""
    return weight.shape[1] % weight.blocksize == 0


def _fitting(tiles: Sequence[Tile], taken: Tensor, weight: Nf4Weight) -> Sequence[Tile]:
    """``tiles``, or what stands in for them where they do not fit."""
    if not _whole(weight):
        return (pick(_SMALL_TILES),)
    return (pick(_WIDE_TILES),) if taken.dtype == torch.float32 else tiles


def _constants(weight: Nf4Weight, tile: Tile) -> dict[str, Any]:
    """RUN: columns of a tile that share a scale, or none."""
    run = min(tile.blocks["BK"], weight.blocksize) if _whole(weight) else None
    return {"RUN": run, "SIZE": weight.blocksize, "PRECISION": "ieee"}


def _scales(weight: Nf4Weight) -> Tensor:
    """The fp32 scale of each block: an eighth of the packed weight's bytes, for this call.

    The offset is added outside of the Triton function, where no compiler can fuse it with the
    product: bitsandbytes rounds twice.
    """
    from alignmeter_kernels.nf4_linear import kernel

    if weight.levels is None or weight.nested_absmax is None or weight.offset is None:
        return weight.absmax
    tile, count = pick(_SCALE_TILES), weight.absmax.numel()
    scales = torch.empty_like(weight.absmax, dtype=torch.float32)
    launch(
        kernel.rescale, (-(-count // tile.blocks["BLOCK"]),), weight.absmax, weight.levels,
        weight.nested_absmax, scales, count, tile=tile, NESTED=NESTED,
    )  # fmt: skip
    return scales.add_(weight.offset)


@table
def _codes(device: torch.device) -> Tensor:
    return torch.tensor(CODES, device=device)
