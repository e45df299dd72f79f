"""Triton functions of `ssd_scan`: states from chunk to chunk, and outputs; what gradients share.

Legend: Q tokens of a chunk; BP of a head's P entries, PB such blocks; BN of the N states, NB such
blocks. Tokens, entries and states beyond their ends are loaded as 0 and not stored; a step of 0
there leaves every decay as it is. README.md derives the gradients.
"""

__all__ = [
    "add_products",
    "chunk_outputs",
    "chunk_state_grads",
    "chunk_states",
    "decays",
    "load_block",
    "read_steps",
    "scores",
    "some_heads",
    "store_block",
]

import triton
import triton.language as tl


@triton.jit
def load_block(base, i, j, stride, rows, columns):
    """[i, j] of a matrix whose rows lie ``stride`` apart; 0 outside."""
    inside = (i < rows)[:, None] & (j < columns)[None, :]
    return tl.load(base + i[:, None] * stride + j[None, :], mask=inside, other=0.0)


@triton.jit
def store_block(base, i, j, stride, rows, columns, values):
    """Write what `load_block` reads."""
    inside = (i < rows)[:, None] & (j < columns)[None, :]
    to = base + i[:, None] * stride + j[None, :]
    tl.store(to, values.to(base.dtype.element_ty), mask=inside)


@triton.jit
def add_products(
    sums, left, right, i, j, left_stride, right_stride, rows, columns, n,
    BN: tl.constexpr, FIRST: tl.constexpr, NB: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add to ``sums`` [i, j] the products over the states from block FIRST on."""
    for block in range(FIRST, NB):
        k = block * BN + tl.arange(0, BN)
        a = load_block(left, i, k, left_stride, rows, n)
        b = load_block(right, j, k, right_stride, columns, n)
        sums = tl.dot(a, tl.trans(b), sums, input_precision=PRECISION)
    return sums


@triton.jit
def scores(
    left, right, t, stride, rows, n,
    Q: tl.constexpr, BN: tl.constexpr, NB: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """[Q, Q]: each token's entry in ``left`` times each one's in ``right``, both [Q, N]."""
    sums = tl.zeros((Q, Q), tl.float32)
    return add_products(
        sums, left, right, t, t, stride, stride, rows, rows, n, BN, 0, NB, PRECISION
    )  # fmt: skip


@triton.jit
def read_steps(dt, A, token, head, t, left, heads):
    """Of a chunk: A, step sizes, and the sum of dt A up to each token and over all; [Q] each."""
    a = tl.load(A + head)
    step = tl.load(dt + token * heads + head + t * heads, mask=t < left, other=0.0)
    rate = step * a
    return a, step, tl.cumsum(rate, 0), tl.sum(rate, 0)


@triton.jit
def decays(cum, t):
    """[s, t]: the decay from token s to token t, 0 where s > t."""
    # Before exp: below the diagonal the differences are positive and would overflow.
    apart = tl.where(t[:, None] <= t[None, :], cum[None, :] - cum[:, None], float("-inf"))
    return tl.exp(apart)


@triton.jit
def some_heads(heads, groups, per_program):
    """This program's group, and where its heads of the group begin and end."""
    shared = heads // groups
    splits = tl.cdiv(shared, per_program)
    group = tl.program_id(2) // splits
    begin = group * shared + tl.program_id(2) % splits * per_program
    return group, begin, tl.minimum(begin + per_program, (group + 1) * shared)


@triton.jit
def _carry(
    values, dt, A, keys, first, kept, last, length, heads, width, groups, n,
    Q: tl.constexpr, BP: tl.constexpr, BN: tl.constexpr, PRECISION: tl.constexpr,
    REVERSE: tl.constexpr,
):  # fmt: skip
    """Keep the state before each chunk, then decay it and add the chunk's ``values keys^T``.

    Forwards a token's share decays to the chunk's end; in reverse to its begin.
    """
    head = tl.program_id(0)
    group = head // (heads // groups)
    row = tl.program_id(1).to(tl.int64)
    blocks = tl.cdiv(n, BN)
    p = tl.program_id(2) // blocks * BP + tl.arange(0, BP)
    k = tl.program_id(2) % blocks * BN + tl.arange(0, BN)
    t = tl.arange(0, Q)
    chunks = tl.cdiv(length, Q)
    plane = width * n
    state = tl.zeros((BP, BN), tl.float32)
    if first is not None:
        state = load_block(first + (row * heads + head) * plane, p, k, n, width, n)
    for done in range(chunks):
        chunk = chunks - 1 - done if REVERSE else done
        token = row * length + chunk * Q
        left = length - chunk * Q
        to = kept + ((row * chunks + chunk) * heads + head) * plane
        store_block(to, p, k, n, width, n, state)
        _, step, cum, total = read_steps(dt, A, token, head, t, left, heads)
        factor = tl.exp(cum) if REVERSE else tl.exp(total - cum) * step
        v = load_block(values + (token * heads + head) * width, t, p, heads * width, left, width)
        key = load_block(keys + (token * groups + group) * n, t, k, groups * n, left, n)
        scaled = tl.trans((v * factor[:, None]).to(v.dtype))
        state = tl.dot(scaled, key, state * tl.exp(total), input_precision=PRECISION)
    store_block(last + (row * heads + head) * plane, p, k, n, width, n, state)


@triton.jit
def chunk_states(
    x, dt, A, B, first, entries, last, length, heads, width, groups, n,
    Q: tl.constexpr, BP: tl.constexpr, BN: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The state at each chunk's entry [rows, chunks, H, P, N] and the last one [rows, H, P, N]."""
    _carry(
        x, dt, A, B, first, entries, last, length, heads, width, groups, n,
        Q, BP, BN, PRECISION, False,
    )  # fmt: skip


@triton.jit
def chunk_state_grads(
    dy, dt, A, C, dlast, exits, dfirst, length, heads, width, groups, n,
    Q: tl.constexpr, BP: tl.constexpr, BN: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The gradient of the state at each chunk's exit, and of the first state."""
    _carry(
        dy, dt, A, C, dlast, exits, dfirst, length, heads, width, groups, n,
        Q, BP, BN, PRECISION, True,
    )  # fmt: skip


@triton.jit
def chunk_outputs(
    x, dt, A, B, C, D, entries, y, length, heads, width, groups, n, per_program,
    Q: tl.constexpr, BP: tl.constexpr, BN: tl.constexpr, PB: tl.constexpr, NB: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """``y`` of one chunk, for some heads of a group, which share ``C B^T``."""
    chunk = tl.program_id(0)
    row = tl.program_id(1).to(tl.int64)
    group, begin, end = some_heads(heads, groups, per_program)
    t = tl.arange(0, Q)
    k = tl.arange(0, BN)
    token = row * length + chunk * Q
    left = length - chunk * Q
    keys = B + (token * groups + group) * n
    queries = C + (token * groups + group) * n
    apart = groups * n
    products = scores(queries, keys, t, apart, left, n, Q, BN, NB, PRECISION)
    c = load_block(queries, t, k, apart, left, n)
    for head in range(begin, end):
        _, step, cum, _ = read_steps(dt, A, token, head, t, left, heads)
        weights = tl.trans(decays(cum, t)) * products * step[None, :]
        weights = weights.to(x.dtype.element_ty)
        state = entries + ((row * tl.num_programs(0) + chunk) * heads + head) * width * n
        at = (token * heads + head) * width
        for block in range(PB):
            p = block * BP + tl.arange(0, BP)
            v = load_block(x + at, t, p, heads * width, left, width)
            out = tl.dot(
                c, tl.trans(load_block(state, p, k, n, width, n)), input_precision=PRECISION
            )
            out = add_products(
                out, queries, state, t, p, apart, n, left, width, n, BN, 1, NB, PRECISION
            )
            out *= tl.exp(cum)[:, None]
            out = tl.dot(weights, v, out, input_precision=PRECISION)
            if D is not None:
                out += tl.load(D + head) * v
            store_block(y + at, t, p, heads * width, left, width, out)
