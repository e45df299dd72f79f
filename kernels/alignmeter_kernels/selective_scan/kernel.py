"""Triton functions of `selective_scan`. Tiles are [channels, states, tokens]; a chunk's tokens are
scanned associatively and chunks follow one another.
"""

__all__ = ["scan_backward", "scan_forward"]

import triton
import triton.language as tl


@triton.jit
def _follow(decay, state, next_decay, next_state):
    """First (decay, state), then (next_decay, next_state), as one step of the recurrence."""
    return decay * next_decay, next_decay * state + next_state


@triton.jit
def _softplus(x):
    """``max(x, 0) + log1p(exp(-|x|))``, the logarithm as ``2 atanh(v / (2 + v))``: ``log(1 + v)``
    would lose the digits of a small v, and small is what Mamba's step sizes are."""
    v = tl.exp(-tl.abs(x))
    q = v / (2.0 + v)
    w = q * q
    p = 1.0 / 13 * w + 1.0 / 11
    p = p * w + 1.0 / 9
    p = p * w + 1.0 / 7
    p = p * w + 1.0 / 5
    p = p * w + 1.0 / 3
    p = p * w + 1.0
    return tl.where(x > 0, x, 0.0) + 2.0 * q * p + (x - x)  # x - x: NaN stays NaN


@triton.jit
def _sigmoid(x):
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def _load(values, at, inside):
    return tl.load(values + at, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _inputs(delta, add, at, inside, SOFTPLUS: tl.constexpr):
    """Step sizes and what they were before softplus; 0 outside, where the state then stays."""
    raw = _load(delta, at, inside) + add
    dt = raw
    if SOFTPLUS:
        dt = _softplus(raw)
    return tl.where(inside, dt, 0.0), raw


@triton.jit
def scan_forward(
    u, delta, table, B, C, z, first, y, last, kept, width, length,
    N: tl.constexpr, SOFTPLUS: tl.constexpr, BD: tl.constexpr, BN: tl.constexpr, BL: tl.constexpr,
):  # fmt: skip
    """One row and BD channels: ``y``, the last state, and the state before each chunk.

    ``table`` [D, N + 2] holds each channel's row of A, its D and its bias, in fp32.
    """
    row = tl.program_id(0).to(tl.int64)
    d, n, t0 = tl.program_id(1) * BD + tl.arange(0, BD), tl.arange(0, BN), tl.arange(0, BL)
    known, real = d < width, n < N
    states_at, real_states = d[:, None] * N + n[None, :], known[:, None] & real[None, :]
    own = d * (N + 2)
    a = _load(table, own[:, None] + n[None, :], real_states)
    skip, add = _load(table, own + N, known)[:, None], _load(table, own + N + 1, known)[:, None]
    state = tl.zeros((BD, BN), tl.float32)
    if first is not None:
        state = _load(first + row * width * N, states_at, real_states)
    chunks = tl.cdiv(length, BL)
    for chunk in range(chunks):
        tl.store(kept + (row * chunks + chunk) * width * N + states_at, state, mask=real_states)
        t = chunk * BL + t0
        at, inside = (
            (row * width + d)[:, None] * length + t[None, :],
            known[:, None] & (t < length)[None, :],
        )
        by_state = (row * N + n)[:, None] * length + t[None, :]
        here = real[:, None] & (t < length)[None, :]
        dt, _ = _inputs(delta, add, at, inside, SOFTPLUS)
        x = _load(u, at, inside)
        decay = tl.exp(dt[:, None, :] * a[:, :, None])
        value = (dt * x)[:, None, :] * _load(B, by_state, here)[None, :, :]
        decay, value = tl.associative_scan((decay, value), 2, _follow)
        states = value + decay * state[:, :, None]
        out = tl.sum(states * _load(C, by_state, here)[None, :, :], 1) + skip * x
        if z is not None:
            gate = _load(z, at, inside)
            out *= gate * _sigmoid(gate)
        tl.store(y + at, out.to(y.dtype.element_ty), mask=inside)
        state = tl.sum(tl.where((t0 == BL - 1)[None, None, :], states, 0.0), 2)
    tl.store(last + row * width * N + states_at, state, mask=real_states)


@triton.jit
def _states_again(u, delta, at, inside, a, b, add, state, SOFTPLUS: tl.constexpr):
    """What the forward pass knew of one channel's chunk: step sizes and what they were before
    softplus, inputs, decays, what each token adds to the states, and the states.
    """
    dt, raw = _inputs(delta, add, at, inside, SOFTPLUS)
    x = _load(u, at, inside)
    decay = tl.exp(dt[None, :] * a[:, None])
    value = (dt * x)[None, :] * b
    so_far, states = tl.associative_scan((decay, value), 1, _follow)
    return dt, raw, x, decay, value, states + so_far * state[:, None]


@triton.jit
def _state_gradients(gradient, c, dt, a, t0, carried, BL: tl.constexpr):
    """Each state hears its own output, and the next state through the next token's decay; after the
    chunk's last token the carry takes the decay's place.
    """
    next_dt = tl.gather(dt, tl.minimum(t0 + 1, BL - 1), 0)
    next_dt = tl.where(t0 < BL - 1, next_dt, 0.0)
    next_decay = tl.exp(next_dt[None, :] * a[:, None])
    own = gradient[None, :] * c
    so_far, grads = tl.associative_scan((next_decay, own), 1, _follow, reverse=True)
    return grads + so_far * carried[:, None]


@triton.jit
def _gate_gradient(z, dz, at, inside, gradient, out):
    """Stores dz; returns the gradient below the gate."""
    gate = _load(z, at, inside)
    open_ = _sigmoid(gate)
    by_gate = gradient * out * open_ * (1.0 + gate * (1.0 - open_))
    tl.store(dz + at, by_gate.to(dz.dtype.element_ty), mask=inside)
    return gradient * gate * open_


@triton.jit
def _one_channel(
    u, delta, z, kept, dy, du, ddelta, dz, sums, b, c, channel, t, t0, n, length,
    N: tl.constexpr, SOFTPLUS: tl.constexpr, BL: tl.constexpr,
):  # fmt: skip
    """One chunk of one channel: stores what belongs to it, returns its part of dB and dC."""
    real, inside, at = n < N, t < length, channel * length + t
    mine = sums + channel * (3 * N + 4)
    own = mine + 2 * N + 2
    carried, of_a = _load(mine, n, real), _load(mine, N + n, real)
    of_d, of_bias = tl.load(mine + 2 * N), tl.load(mine + 2 * N + 1)
    a, skip, add = _load(own, n, real), tl.load(own + N), tl.load(own + N + 1)
    dt, raw, x, decay, value, states = _states_again(
        u, delta, at, inside, a, b, add, _load(kept, n, real), SOFTPLUS
    )
    gradient = _load(dy, at, inside)
    if z is not None:
        out = tl.sum(states * c, 0) + skip * x
        gradient = _gate_gradient(z, dz, at, inside, gradient, out)
    grads = _state_gradients(gradient, c, dt, a, t0, carried, BL)
    through = tl.sum(grads * b, 0)
    # What a state took over from the one before it, times its gradient.
    taken = grads * (states - value)
    of_dt = through * x + tl.sum(taken * a[:, None], 0)
    if SOFTPLUS:
        of_dt *= _sigmoid(raw)
    of_dt = tl.where(inside, of_dt, 0.0)
    of_u = through * dt + gradient * skip
    tl.store(du + at, of_u.to(du.dtype.element_ty), mask=inside)
    tl.store(ddelta + at, of_dt.to(ddelta.dtype.element_ty), mask=inside)
    # No thread may write a sum before every thread has read it.
    tl.debug_barrier()
    passed = tl.where((t0 == 0)[None, :], decay * grads, 0.0)
    tl.store(mine + n, tl.sum(passed, 1), mask=real)
    tl.store(mine + N + n, of_a + tl.sum(taken * dt[None, :], 1), mask=real)
    tl.store(mine + 2 * N, of_d + tl.sum(gradient * x, 0))
    tl.store(mine + 2 * N + 1, of_bias + tl.sum(of_dt, 0))
    return grads * (dt * x)[None, :], gradient[None, :] * states


@triton.jit
def scan_backward(
    u, delta, B, C, z, kept, dy, du, ddelta, dz, partial, sums, width, length, begin,
    segment, per_program,
    N: tl.constexpr, SOFTPLUS: tl.constexpr, BN: tl.constexpr, BL: tl.constexpr,
):  # fmt: skip
    """One row, ``per_program`` channels and the chunks of ``segment`` tokens from ``begin`` on, the
    last chunk first; tiles are [states, tokens] of one channel, which keeps every value of the pass
    in registers.

    ``partial`` [rows, programs, 2, N, segment]: dB and dC, to be summed over programs. ``sums``
    [rows, D, 3N + 4]: the first N come in as the gradient of the segment's last state and go out as
    that of the state before it; dA, dD and dbias of the row are added to; A, D and bias follow, as
    a table of their own would take scalar registers that CDNA does not have. Only this program
    touches its channels.
    """
    row, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    n, t0 = tl.arange(0, BN), tl.arange(0, BL)
    real, chunks = n < N, tl.cdiv(length, BL)
    first_d = part * per_program
    for back in range(tl.cdiv(tl.minimum(segment, length - begin), BL)):
        chunk = tl.cdiv(tl.minimum(begin + segment, length), BL) - 1 - back
        t = chunk * BL + t0
        by_state = (row * N + n)[:, None] * length + t[None, :]
        here = real[:, None] & (t < length)[None, :]
        b, c = _load(B, by_state, here), _load(C, by_state, here)
        sum_b = tl.zeros((BN, BL), tl.float32)
        sum_c = tl.zeros((BN, BL), tl.float32)
        for d in range(first_d, tl.minimum(first_d + per_program, width)):
            of_chunk = kept + ((row * chunks + chunk) * width + d) * N
            by_b, by_c = _one_channel(
                u, delta, z, of_chunk, dy, du, ddelta, dz, sums, b, c,
                row * width + d, t, t0, n, length, N, SOFTPLUS, BL,
            )  # fmt: skip
            sum_b += by_b
            sum_c += by_c
        to = partial + (row * tl.num_programs(1) + part) * 2 * N * segment
        to = to + n[:, None] * segment + (t - begin)[None, :]
        tl.store(to, sum_b, mask=real[:, None])
        tl.store(to + N * segment, sum_c, mask=real[:, None])
        # The next chunk reads the carry and the sums that this one wrote.
        tl.debug_barrier()
