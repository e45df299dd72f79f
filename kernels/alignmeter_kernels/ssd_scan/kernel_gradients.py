"""Triton functions of `ssd_scan` that give gradients, all chunks at once.

`kernel.py` has the legend, README.md the derivation.
"""

__all__ = ["b_gradients", "c_gradients", "chunk_gradients", "chunk_pairs"]

import triton
import triton.language as tl

from alignmeter_kernels.ssd_scan.kernel import (
    decays,
    load_block,
    read_steps,
    scores,
    some_heads,
    store_block,
)


@triton.jit
def chunk_pairs(
    x, dt, A, B, C, dy, pairs, crossing, length, heads, width, groups, n, per_program,
    Q: tl.constexpr, BP: tl.constexpr, BN: tl.constexpr, PB: tl.constexpr, NB: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """``exp(cum_t - cum_s) dy_t . dt_s x_s`` of one chunk at [s, t], for some heads of a group.

    pairs: [rows, chunks, G splits, Q, Q], their sum. crossing: [rows, T, H], what each token reads,
    less what is read of it: both times ``C_t . B_s``.
    """
    chunk = tl.program_id(0)
    row = tl.program_id(1).to(tl.int64)
    group, begin, end = some_heads(heads, groups, per_program)
    t = tl.arange(0, Q)
    token = row * length + chunk * Q
    left = length - chunk * Q
    first_key = (token * groups + group) * n
    products = scores(B + first_key, C + first_key, t, groups * n, left, n, Q, BN, NB, PRECISION)
    summed = tl.zeros((Q, Q), tl.float32)
    for head in range(begin, end):
        _, step, cum, _ = read_steps(dt, A, token, head, t, left, heads)
        at = (token * heads + head) * width
        found = tl.zeros((Q, Q), tl.float32)
        for block in range(PB):
            p = block * BP + tl.arange(0, BP)
            v = load_block(x + at, t, p, heads * width, left, width)
            g = load_block(dy + at, t, p, heads * width, left, width)
            found = tl.dot(v, tl.trans(g), found, input_precision=PRECISION)
        found *= decays(cum, t) * step[:, None]
        summed += found
        found *= products
        to = crossing + token * heads + head + t * heads
        tl.store(to, tl.sum(found, 0) - tl.sum(found, 1), mask=t < left)
    place = (row * tl.num_programs(0) + chunk) * tl.num_programs(2) + tl.program_id(2)
    store_block(pairs + place * Q * Q, t, t, Q, Q, Q, summed)


@triton.jit
def _through_states(
    keys, queries, entries, exits, t, p, apart, left, width, n,
    Q: tl.constexpr, BP: tl.constexpr, BN: tl.constexpr, NB: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Queries against the entry's state and keys against the exit's gradient, [Q, BP] each, and the
    sum of the products of the two."""
    read = tl.zeros((Q, BP), tl.float32)
    dxd = tl.zeros((Q, BP), tl.float32)
    both = 0.0
    for block in range(NB):
        k = block * BN + tl.arange(0, BN)
        h = load_block(entries, p, k, n, width, n)
        e = load_block(exits, p, k, n, width, n)
        both += tl.sum(tl.sum(h.to(tl.float32) * e, 1), 0)
        c = load_block(queries, t, k, apart, left, n)
        read = tl.dot(c, tl.trans(h), read, input_precision=PRECISION)
        b = load_block(keys, t, k, apart, left, n)
        dxd = tl.dot(b, tl.trans(e), dxd, input_precision=PRECISION)
    return read, dxd, both


@triton.jit
def _crossed(later, earlier):
    """At each token: ``later`` summed from it on, and ``earlier`` up to the one before it."""
    return tl.sum(later, 0) - tl.cumsum(later, 0) + later + tl.cumsum(earlier, 0) - earlier


@triton.jit
def chunk_gradients(
    x, dt, A, B, C, D, dy, entries, exits, crossing, dx, ddt, dA, dD,
    length, heads, width, groups, n, per_program,
    Q: tl.constexpr, BP: tl.constexpr, BN: tl.constexpr, PB: tl.constexpr, NB: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """One chunk's and head's dx and ddt, as x and dt, and part of dA and dD: [rows, chunks, H]."""
    chunk = tl.program_id(0)
    row = tl.program_id(1).to(tl.int64)
    group, head, _ = some_heads(heads, groups, per_program)
    t = tl.arange(0, Q)
    token = row * length + chunk * Q
    left = length - chunk * Q
    a, step, cum, total = read_steps(dt, A, token, head, t, left, heads)
    first_key = (token * groups + group) * n
    weights = scores(B + first_key, C + first_key, t, groups * n, left, n, Q, BN, NB, PRECISION)
    weights = (weights * decays(cum, t)).to(x.dtype.element_ty)
    at = (token * heads + head) * width
    place = (row * tl.num_programs(0) + chunk) * heads + head
    earlier = tl.zeros((Q,), tl.float32)
    later = tl.zeros((Q,), tl.float32)
    direct = tl.zeros((Q,), tl.float32)
    passed = 0.0
    skipped = 0.0
    for block in range(PB):
        p = block * BP + tl.arange(0, BP)
        v = load_block(x + at, t, p, heads * width, left, width)
        g = load_block(dy + at, t, p, heads * width, left, width)
        read, dxd, both = _through_states(
            B + first_key, C + first_key, entries + place * width * n, exits + place * width * n, t,
            p, groups * n, left, width, n, Q, BP, BN, NB, PRECISION,
        )  # fmt: skip
        passed += both
        later += tl.sum(read * g, 1)
        dxd *= tl.exp(total - cum)[:, None]
        earlier += tl.sum(dxd * v, 1)
        dxd = tl.dot(weights, g, dxd, input_precision=PRECISION)
        direct += tl.sum(dxd * v, 1)
        dxd *= step[:, None]
        if D is not None:
            dxd += tl.load(D + head) * g
            skipped += tl.sum(tl.sum(v.to(tl.float32) * g, 1), 0)
        store_block(dx + at, t, p, heads * width, left, width, dxd)
    later *= tl.exp(cum)
    later += tl.load(crossing + token * heads + head + t * heads, mask=t < left, other=0.0)
    along = _crossed(later, earlier * step) + tl.exp(total) * passed
    tl.store(ddt + token * heads + head + t * heads, a * along + direct, mask=t < left)
    tl.store(dA + place, tl.sum(step * along, 0))
    if D is not None:
        tl.store(dD + place, skipped)


@triton.jit
def _key_gradients(
    values, dt, A, keys, states, pairs, grad, length, heads, width, groups, n, per_program,
    Q: tl.constexpr, BP: tl.constexpr, BN: tl.constexpr, PB: tl.constexpr, NB: tl.constexpr,
    PRECISION: tl.constexpr, OF_B: tl.constexpr,
):  # fmt: skip
    """Some heads' share of the gradient of B or C in one chunk: [rows, T, G splits, N]."""
    chunk = tl.program_id(0) // NB
    row = tl.program_id(1).to(tl.int64)
    group, begin, end = some_heads(heads, groups, per_program)
    t = tl.arange(0, Q)
    k = tl.program_id(0) % NB * BN + tl.arange(0, BN)
    token = row * length + chunk * Q
    place = row * tl.cdiv(length, Q) + chunk
    left = length - chunk * Q
    key = load_block(keys + (token * groups + group) * n, t, k, groups * n, left, n)
    pair = load_block(
        pairs + (place * tl.num_programs(2) + tl.program_id(2)) * Q * Q, t, t, Q, Q, Q
    )
    pair = pair.to(key.dtype)
    if not OF_B:
        pair = tl.trans(pair)
    found = tl.dot(pair, key, input_precision=PRECISION)
    for head in range(begin, end):
        _, step, cum, total = read_steps(dt, A, token, head, t, left, heads)
        factor = tl.exp(total - cum) * step if OF_B else tl.exp(cum)
        at = (token * heads + head) * width
        for block in range(PB):
            p = block * BP + tl.arange(0, BP)
            v = load_block(values + at, t, p, heads * width, left, width)
            state = load_block(states + (place * heads + head) * width * n, p, k, n, width, n)
            scaled = (v * factor[:, None]).to(v.dtype)
            found = tl.dot(scaled, state, found, input_precision=PRECISION)
    stride = tl.num_programs(2) * n
    store_block(grad + token * stride + tl.program_id(2) * n, t, k, stride, left, n, found)


@triton.jit
def b_gradients(
    x, dt, A, C, exits, pairs, dB, length, heads, width, groups, n, per_program,
    Q: tl.constexpr, BP: tl.constexpr, BN: tl.constexpr, PB: tl.constexpr, NB: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Some heads' share of the gradient of B in one chunk: [rows, T, G splits, N]."""
    _key_gradients(
        x, dt, A, C, exits, pairs, dB, length, heads, width, groups, n, per_program,
        Q, BP, BN, PB, NB, PRECISION, True,
    )  # fmt: skip


@triton.jit
def c_gradients(
    dy, dt, A, B, entries, pairs, dC, length, heads, width, groups, n, per_program,
    Q: tl.constexpr, BP: tl.constexpr, BN: tl.constexpr, PB: tl.constexpr, NB: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Some heads' share of the gradient of C in one chunk: [rows, T, G splits, N]."""
    _key_gradients(
        dy, dt, A, B, entries, pairs, dC, length, heads, width, groups, n, per_program,
        Q, BP, BN, PB, NB, PRECISION, False,
    )  # fmt: skip
