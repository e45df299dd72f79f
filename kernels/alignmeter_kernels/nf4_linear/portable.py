"""NF4 layers in pure torch: some output rows of the weight are dequantised at a time."""

__all__ = ["backward", "forward"]

from collections.abc import Iterator

import torch

from alignmeter_kernels.nf4_linear.reference import CODES, Nf4Weight, scales
from alignmeter_kernels.planning import table

Tensor = torch.Tensor

_PART_BYTES = 8 * 2**20
"""Dequantised weight held at once, in fp32: larger parts are no faster (1024 rows of 4096)."""


def forward(x: Tensor, weight: Nf4Weight, bias: Tensor | None) -> Tensor:
    """``x @ W.T + bias`` of [T, in]: [T, out]."""
    y = x.new_empty(x.shape[0], weight.shape[0])
    for rows, part in _rows(weight, x.dtype):
        if bias is None:
            torch.mm(x, part.mT, out=y[:, rows])
        else:
            torch.addmm(bias[rows], x, part.mT, out=y[:, rows])
    return y


def backward(dy: Tensor, weight: Nf4Weight) -> Tensor:
    """``dy @ W`` of [T, out]: [T, in]."""
    if weight.shape[1] % weight.blocksize:
        return _summed(dy, weight)
    dx = dy.new_empty(dy.shape[0], weight.shape[1])
    for columns, part in _columns(weight, dy.dtype):
        torch.mm(dy, part, out=dx[:, columns])
    return dx


def _summed(dy: Tensor, weight: Nf4Weight) -> Tensor:
    """The same where blocks cross the ends of rows: products of rows, summed in fp32."""
    dx = dy.new_zeros(dy.shape[0], weight.shape[1], dtype=torch.float32)
    for rows, part in _rows(weight, dy.dtype):
        dx += dy[:, rows] @ part
    return dx.to(dy.dtype)


def _rows(weight: Nf4Weight, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
    """Rows of the weight and their values, which stand until the next part is asked for.

    A part has a multiple of ``blocksize`` rows, so that it begins with a block and with a byte
    whatever the width is. Its last block may reach beyond the matrix.
    """
    (out, width), size = weight.shape, weight.blocksize
    packed, each = weight.packed.reshape(-1), scales(weight)
    step = _step(width, weight)
    values = _room(-(-min(step, out) * width // size) * size, packed.device)
    for first in range(0, out, step):
        last = min(first + step, out)
        begin, count = first * width // size, (last - first) * width
        some = packed[begin * size // 2 :][: -(-count // 2)]
        _fill(values, some, each[begin:][: -(-count // size)], size)
        yield slice(first, last), values[:count].view(-1, width).to(dtype)


def _columns(weight: Nf4Weight, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
    """Columns of a weight whose rows are whole blocks, in the same way."""
    (out, width), size = weight.shape, weight.blocksize
    packed, each = weight.packed.view(out, width // 2), scales(weight).view(out, width // size)
    step = _step(out, weight)
    values = _room(out * min(step, width), packed.device)
    for first in range(0, width, step):
        last = min(first + step, width)
        scale = each[:, first // size : last // size]
        _fill(values, packed[:, first // 2 : last // 2], scale, size)
        yield slice(first, last), values[: out * (last - first)].view(out, -1).to(dtype)


def _step(length: int, weight: Nf4Weight) -> int:
    """How many vectors of ``length`` make a part: whole blocks of them."""
    return max(1, _PART_BYTES // (4 * length * weight.blocksize)) * weight.blocksize


def _room(count: int, device: torch.device) -> Tensor:
    return torch.empty(count, dtype=torch.float32, device=device)


def _fill(values: Tensor, packed: Tensor, each: Tensor, size: int) -> None:
    """Dequantise bytes, whose blocks have the scales ``each``, into the beginning of ``values``."""
    pairs = values.view(torch.int64)[: packed.numel()]
    torch.index_select(_pairs(packed.device), 0, packed.int().view(-1), out=pairs)
    values[: each.numel() * size].view(*each.shape, size).mul_(each.unsqueeze(-1))


@table
def _pairs(device: torch.device) -> Tensor:
    """Both fp32 values of each byte as one 64-bit word: one lookup instead of two, [256] int64."""
    codes = torch.tensor(CODES, device=device)
    pairs = torch.stack([codes.repeat_interleave(16), codes.repeat(16)], 1)
    return pairs.view(torch.int64).reshape(-1)
