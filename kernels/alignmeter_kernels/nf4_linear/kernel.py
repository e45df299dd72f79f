"""Triton functions of `nf4_linear`: the scales, and the products with W transposed and with W."""

__all__ = ["product", "rescale", "transposed_product"]

import triton
import triton.language as tl


@triton.jit
def rescale(absmax, levels, nested, out, count, NESTED: tl.constexpr, BLOCK: tl.constexpr):
    """``levels[absmax] * nested`` of each block: the scales before their offset is added."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    known = at < count
    level = tl.load(levels + tl.load(absmax + at, mask=known, other=0))
    tl.store(out + at, level * tl.load(nested + at // NESTED, mask=known, other=0.0), mask=known)


@triton.jit
def _looked_up(codes, at):
    """``codes[at]`` by a gather in shared memory: loads would be taken for tiles of the product and
    copied ahead, four bytes at a time."""
    table = tl.load(codes + tl.arange(0, 16))
    flat = tl.reshape(at, (at.numel,)).to(tl.int32)
    return tl.reshape(tl.gather(table, flat, 0), at.shape)


@triton.jit
def _of_runs(
    packed, scales, codes, n, start, out, width, dtype: tl.constexpr,
    BN: tl.constexpr, BK: tl.constexpr, RUN: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    """[BN, BK] weights where rows are whole blocks: runs of RUN columns share a scale."""
    first = start + tl.arange(0, BK // RUN) * RUN
    known = (n < out)[:, None] & (first < width)[None, :]
    at = n.to(tl.int64)[:, None] * width + first[None, :]
    scale = tl.load(scales + at // SIZE, mask=known, other=0.0)[:, :, None]
    byte = tl.load(
        (packed + at // 2)[:, :, None] + tl.arange(0, RUN // 2)[None, None, :],
        mask=known[:, :, None], other=0,
    )  # fmt: skip
    high = _looked_up(codes, byte >> 4) * scale
    low = _looked_up(codes, byte & 15) * scale
    return tl.reshape(tl.interleave(high.to(dtype), low.to(dtype)), (BN, BK))


@triton.jit
def _of_elements(packed, scales, codes, n, k, out, width, dtype: tl.constexpr, SIZE: tl.constexpr):
    """[BN, BK] weights of any shape: each finds its own byte and its own block."""
    known = (n < out)[:, None] & (k < width)[None, :]
    at = n.to(tl.int64)[:, None] * width + k[None, :]
    byte = tl.load(packed + at // 2, mask=known, other=0)
    code = tl.where(at % 2 == 0, byte >> 4, byte & 15)
    scale = tl.load(scales + at // SIZE, mask=known, other=0.0)
    return (_looked_up(codes, code) * scale).to(dtype)


@triton.jit
def _weights(
    packed, scales, codes, n, start, out, width, dtype: tl.constexpr,
    BN: tl.constexpr, BK: tl.constexpr, RUN: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    """[BN, BK] of W in ``dtype``, rows ``n``, columns from ``start``; zeros outside."""
    if RUN is None:
        k = start + tl.arange(0, BK)
        found = _of_elements(packed, scales, codes, n, k, out, width, dtype, SIZE)
    else:
        found = _of_runs(packed, scales, codes, n, start, out, width, dtype, BN, BK, RUN, SIZE)
    return found


@triton.jit
def transposed_product(
    x, packed, scales, codes, bias, y, tokens, out, width,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
    RUN: tl.constexpr, SIZE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """``x @ W.T + bias``: [tokens, width] and [out, width] give [tokens, out]."""
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    rows = x + m.to(tl.int64)[:, None] * width
    sums = tl.zeros((BM, BN), tl.float32)
    for start in range(0, width, BK):
        inside = (m < tokens)[:, None] & (start + k < width)[None, :]
        a = tl.load(rows + (start + k)[None, :], mask=inside, other=0.0)
        w = _weights(packed, scales, codes, n, start, out, width, a.dtype, BN, BK, RUN, SIZE)
        sums = tl.dot(a, tl.trans(w), sums, input_precision=PRECISION)
    if bias is not None:
        sums += tl.load(bias + n, mask=n < out, other=0.0).to(tl.float32)[None, :]
    to = y + m.to(tl.int64)[:, None] * out + n[None, :]
    tl.store(to, sums.to(y.dtype.element_ty), mask=(m < tokens)[:, None] & (n < out)[None, :])


@triton.jit
def product(
    dy, packed, scales, codes, dx, tokens, out, width,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
    RUN: tl.constexpr, SIZE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """``dy @ W``: [tokens, out] and [out, width] give [tokens, width]."""
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    begin = tl.program_id(1) * BK
    rows = dy + m.to(tl.int64)[:, None] * out
    sums = tl.zeros((BM, BK), tl.float32)
    for start in range(0, out, BN):
        n = start + tl.arange(0, BN)
        inside = (m < tokens)[:, None] & (n < out)[None, :]
        a = tl.load(rows + n[None, :], mask=inside, other=0.0)
        w = _weights(packed, scales, codes, n, begin, out, width, a.dtype, BN, BK, RUN, SIZE)
        sums = tl.dot(a, w, sums, input_precision=PRECISION)
    k = begin + tl.arange(0, BK)
    to = dx + m.to(tl.int64)[:, None] * width + k[None, :]
    tl.store(to, sums.to(dx.dtype.element_ty), mask=(m < tokens)[:, None] & (k < width)[None, :])
