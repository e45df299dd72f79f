"""Triton functions of `linear_logprob`: one pass over the vocabulary, and the slopes of a slice."""

__all__ = ["partial_softmax", "slopes"]

import triton
import triton.language as tl


@triton.jit
def _logits(
    hidden, weight, t, v, tokens, end, width,
    BT: tl.constexpr, BV: tl.constexpr, BH: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """[BT, BV] logits in fp32; columns at or beyond ``end`` are not to be used."""
    sums = tl.zeros((BT, BV), tl.float32)
    k = tl.arange(0, BH)
    rows = hidden + t.to(tl.int64)[:, None] * width
    columns = weight + v.to(tl.int64)[None, :] * width
    for start in range(0, width, BH):
        inside = start + k < width
        a = tl.load(
            rows + start + k[None, :], mask=(t < tokens)[:, None] & inside[None, :], other=0.0
        )
        w = tl.load(
            columns + start + k[:, None], mask=(v < end)[None, :] & inside[:, None], other=0.0
        )
        sums = tl.dot(a, w, sums, input_precision=PRECISION)
    return sums


@triton.jit
def partial_softmax(
    hidden, weight, labels, parts, tokens, vocabulary, width, per_split,
    BT: tl.constexpr, BV: tl.constexpr, BH: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Of one split of the vocabulary, per token: maximum, sum of exponentials, their sum weighted
    by the logits, and the label's logit if it lies here. ``parts``: [4, splits, T].
    """
    t = tl.program_id(0) * BT + tl.arange(0, BT)
    split = tl.program_id(1)
    begin = split * per_split
    end = tl.minimum(begin + per_split, vocabulary)
    label = tl.load(labels + t, mask=t < tokens, other=-1)
    top = tl.full((BT,), float("-inf"), tl.float32)
    total = tl.zeros((BT,), tl.float32)
    weighted = tl.zeros((BT,), tl.float32)
    picked = tl.zeros((BT,), tl.float32)
    for first in range(begin, end, BV):
        v = first + tl.arange(0, BV)
        logits = _logits(hidden, weight, t, v, tokens, end, width, BT, BV, BH, PRECISION)
        known = (v < end)[None, :]
        highest = tl.maximum(top, tl.max(tl.where(known, logits, float("-inf")), 1))
        shrink = tl.exp(top - highest)
        share = tl.where(known, tl.exp(logits - highest[:, None]), 0.0)
        total = total * shrink + tl.sum(share, 1)
        weighted = weighted * shrink + tl.sum(share * logits, 1)
        picked += tl.sum(tl.where(v[None, :] == label[:, None], logits, 0.0), 1)
        top = highest
    out = parts + split * tokens + t
    step = tl.num_programs(1) * tokens
    tl.store(out, top, mask=t < tokens)
    tl.store(out + step, total, mask=t < tokens)
    tl.store(out + 2 * step, weighted, mask=t < tokens)
    tl.store(out + 3 * step, picked, mask=t < tokens)


@triton.jit
def slopes(
    hidden, weight, labels, lse, grad, out, tokens, begin, end, width,
    BT: tl.constexpr, BV: tl.constexpr, BH: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """``grad_t (1[v = label_t] - p_tv)`` for words from ``begin`` to ``end``: [T, end - begin]."""
    t = tl.program_id(0) * BT + tl.arange(0, BT)
    v = begin + tl.program_id(1) * BV + tl.arange(0, BV)
    logits = _logits(hidden, weight, t, v, tokens, end, width, BT, BV, BH, PRECISION)
    known = t < tokens
    label = tl.load(labels + t, mask=known, other=-1)
    above = tl.load(grad + t, mask=known, other=0.0)
    share = tl.exp(logits - tl.load(lse + t, mask=known, other=0.0)[:, None])
    slope = above[:, None] * (tl.where(v[None, :] == label[:, None], 1.0, 0.0) - share)
    to = out + t.to(tl.int64)[:, None] * (end - begin) + (v - begin)[None, :]
    tl.store(to, slope.to(out.dtype.element_ty), mask=known[:, None] & (v < end)[None, :])
