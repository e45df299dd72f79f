"""Triton functions of `causal_conv1d`. Tiles are [channels, tokens] of one row."""

__all__ = ["conv_backward", "conv_forward"]

import triton
import triton.language as tl


@triton.jit
def _load(values, at, inside):
    return tl.load(values + at, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _convolved(x, weight, bias, base, d, t, known, length, TAPS: tl.constexpr):
    """The convolution at tokens ``t``; 0 beyond the sequence, where nothing is heard."""
    total = tl.zeros((d.shape[0], t.shape[0]), tl.float32)
    if bias is not None:
        total += _load(bias, d, known)[:, None]
    for k in tl.static_range(TAPS):
        earlier = t - (TAPS - 1 - k)
        inside = known[:, None] & ((earlier >= 0) & (t < length))[None, :]
        tap = _load(weight, d * TAPS + k, known)
        total += tap[:, None] * _load(x, base[:, None] + earlier[None, :], inside)
    return total


@triton.jit
def _slope(gradient, total):
    """``gradient`` through SiLU at ``total``."""
    gate = 1.0 / (1.0 + tl.exp(-total))
    return gradient * gate * (1.0 + total * (1.0 - gate))


@triton.jit
def conv_forward(
    x, weight, bias, y, width, length,
    TAPS: tl.constexpr, SILU: tl.constexpr, BD: tl.constexpr, BL: tl.constexpr,
):  # fmt: skip
    """One tile of the output."""
    row = tl.program_id(0).to(tl.int64)
    d, t = tl.program_id(1) * BD + tl.arange(0, BD), tl.program_id(2) * BL + tl.arange(0, BL)
    known = d < width
    base = (row * width + d) * length
    total = _convolved(x, weight, bias, base, d, t, known, length, TAPS)
    if SILU:
        total = total / (1.0 + tl.exp(-total))
    inside = known[:, None] & (t < length)[None, :]
    tl.store(y + base[:, None] + t[None, :], total.to(y.dtype.element_ty), mask=inside)


@triton.jit
def conv_backward(
    x, weight, bias, dy, dx, partial, width, length,
    TAPS: tl.constexpr, SILU: tl.constexpr, BD: tl.constexpr, BL: tl.constexpr,
):  # fmt: skip
    """One tile of dx, and its part of the gradients of weight and bias.

    ``partial`` [TAPS + 1, rows, tiles, D]: the taps' sums, then the bias's. A token's input is
    heard by itself and the TAPS - 1 tokens after it, so their gradients are computed again here.
    """
    row, tile = tl.program_id(0).to(tl.int64), tl.program_id(2)
    d, t = tl.program_id(1) * BD + tl.arange(0, BD), tile * BL + tl.arange(0, BL)
    known = d < width
    base = (row * width + d) * length
    inside = known[:, None] & (t < length)[None, :]
    own = _load(x, base[:, None] + t[None, :], inside)
    step = tl.num_programs(0).to(tl.int64) * tl.num_programs(2) * width
    to = partial + (row * tl.num_programs(2) + tile) * width + d
    result = tl.zeros((BD, BL), tl.float32)
    for ahead in tl.static_range(TAPS):
        later = t + ahead
        gradient = _load(
            dy, base[:, None] + later[None, :], known[:, None] & (later < length)[None, :]
        )
        if SILU:
            total = _convolved(x, weight, bias, base, d, later, known, length, TAPS)
            gradient = _slope(gradient, total)
        tap = TAPS - 1 - ahead
        result += _load(weight, d * TAPS + tap, known)[:, None] * gradient
        tl.store(to + tap * step, tl.sum(gradient * own, 1), mask=known)
        if ahead == 0:
            tl.store(to + TAPS * step, tl.sum(gradient, 1), mask=known)
    tl.store(dx + base[:, None] + t[None, :], result.to(dx.dtype.element_ty), mask=inside)
