"""`causal_conv1d` on Triton: tiles, grids and the sums over them."""

__all__ = ["backward", "forward"]

import torch

from alignmeter_kernels.launch import Tile, launch, pick

Tensor = torch.Tensor

_TILES = {
    "default": Tile(blocks={"BD": 8, "BL": 128}, warps=4),
    "interpreter": Tile(blocks={"BD": 8, "BL": 64}),
}


def _grid(x: Tensor, tile: Tile) -> tuple[int, int, int]:
    rows, width, length = x.shape
    return rows, -(-width // tile.blocks["BD"]), -(-length // tile.blocks["BL"])


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, *, silu: bool) -> Tensor:
    """[rows, D, T] in the dtype of ``x``; all inputs contiguous."""
    from alignmeter_kernels.causal_conv1d import kernel

    tile, y = pick(_TILES), torch.empty_like(x)
    launch(
        kernel.conv_forward, _grid(x, tile), x, weight, bias, y, *x.shape[1:],
        tile=tile, TAPS=weight.shape[1], SILU=silu,
    )  # fmt: skip
    return y


def backward(
    x: Tensor, weight: Tensor, bias: Tensor | None, dy: Tensor, *, silu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, weight and bias; the convolution is computed a second time."""
    from alignmeter_kernels.causal_conv1d import kernel

    tile, dx, taps = pick(_TILES), torch.empty_like(x), weight.shape[1]
    grid = _grid(x, tile)
    partial = x.new_empty(taps + 1, grid[0], grid[2], x.shape[1], dtype=torch.float32)
    launch(
        kernel.conv_backward, grid, x, weight, bias, dy, dx, partial, *x.shape[1:],
        tile=tile, TAPS=taps, SILU=silu,
    )  # fmt: skip
    # Two sums, not views of one: the results of an operator may not share a storage.
    return dx, partial[:taps].sum((1, 2)).mT, partial[taps].sum((0, 1))
