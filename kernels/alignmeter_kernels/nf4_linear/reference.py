"""The plain version: the whole weight dequantised, then one product. Also the storage format."""

__all__ = ["CODES", "NESTED", "Nf4Weight", "dequantise", "nf4_linear_reference", "scales"]

from typing import NamedTuple

import torch
import torch.nn.functional as F

Tensor = torch.Tensor

# Quantiles of a normal distribution, scaled to [-1, 1]: appendix E of the QLoRA paper
# (https://arxiv.org/abs/2305.14314), to the last digit of bitsandbytes' fp32 table.
CODES = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
"""The 16 values of NF4."""
NESTED = 256
"""Scales that share a scale of their own under double quantisation."""


class Nf4Weight(NamedTuple):
    """A frozen [out, in] matrix in NF4 blocks; see the README of this folder for the format.

    ``packed``: uint8, two codes a byte. ``absmax``: a scale for each ``blocksize`` elements, fp32;
    or uint8 places in ``levels`` [256] fp32, times ``nested_absmax`` (fp32, one for each 256
    scales), plus ``offset`` (fp32, one number).
    """

    packed: Tensor
    absmax: Tensor
    shape: tuple[int, int]
    blocksize: int
    levels: Tensor | None = None
    nested_absmax: Tensor | None = None
    offset: Tensor | None = None


def scales(weight: Nf4Weight) -> Tensor:
    """The fp32 scale of each block. The product is rounded before the offset is added."""
    if weight.levels is None or weight.nested_absmax is None or weight.offset is None:
        return weight.absmax
    blocks = weight.absmax.numel()
    shared = weight.nested_absmax.repeat_interleave(NESTED)[:blocks]
    return weight.levels.index_select(0, weight.absmax.int()).mul_(shared).add_(weight.offset)


def dequantise(weight: Nf4Weight, dtype: torch.dtype) -> Tensor:
    """The matrix [out, in]: code times scale in fp32, rounded to ``dtype``."""
    packed, count = weight.packed.reshape(-1), weight.shape[0] * weight.shape[1]
    codes = torch.stack([packed >> 4, packed & 15], 1).reshape(-1)[:count]
    values = torch.tensor(CODES, device=packed.device).index_select(0, codes.int())
    each = scales(weight).repeat_interleave(weight.blocksize)[:count]
    return (values * each).to(dtype).view(weight.shape)


def nf4_linear_reference(x: Tensor, weight: Nf4Weight, bias: Tensor | None = None) -> Tensor:
    """``x @ W.T + bias`` with the dequantised weight; ``x`` may be float64.

    Args:
        x: [..., in]. weight: see `Nf4Weight`. bias: [out] in ``x``'s dtype, or none.

    Returns:
        [..., out] in ``x``'s dtype.
    """
    return F.linear(x, dequantise(weight, x.dtype), bias)
