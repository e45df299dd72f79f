"""The chunked form in pure torch: the path of every device without a faster one.

Legend: Q tokens of a chunk, H heads of width P, G groups, R = H / G heads of a group, N states.
One row at a time, so that what a chunk needs stays in the cache. Nothing is kept for the backward
pass but the inputs; it computes the states at the chunks' borders again.
"""

__all__ = ["CHUNK", "backward", "forward"]

import torch

Tensor = torch.Tensor

CHUNK = 64
"""Tokens of a chunk. Forward and backward of rows 2, T 1024, H 24, P 64, N 128 on one thread of an
AVX2 server took 0.28 s with 32, 0.23 with 64, 0.28 with 128, 0.44 with 256."""


class _Chunk:
    """One chunk of a row in fp32, and its decays.

    x, xd (which is dt x): [Q, H, P]. dt, into, left: [Q, H]. B, C: [G, Q, N]. through: [H].
    Decays: ``into`` from the chunk's entry to a token, ``left`` from a token to the chunk's exit,
    ``through`` from entry to exit.
    """

    def __init__(self, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> None:
        self.x, self.dt = x.float().contiguous(), dt
        self.B, self.C = (t.float().transpose(0, 1).contiguous() for t in (B, C))
        self.xd = self.x * dt.unsqueeze(-1)
        cum = (dt.double() * A).cumsum(0)
        self.into, self.left = cum.exp().float(), (cum[-1] - cum).exp().float()
        self.through = self.into[-1]
        # The exponents are differences of sums that may be a hundred times larger.
        self._cum = cum.float()
        self._rest = (cum - self._cum).float()

    def by_group(self, values: Tensor) -> Tensor:
        """[Q, H, P] seen as [G, Q, R P]."""
        return values.view(values.shape[0], self.B.shape[0], -1).transpose(0, 1)

    def decays(self) -> Tensor:
        """[H, Q, Q]: from token s to token t at [t, s], 0 where s > t."""
        cum, rest = self._cum.mT.contiguous(), self._rest.mT.contiguous()
        size = cum.shape[1]
        # Before exp: above the diagonal the differences are positive and would overflow.
        ahead = cum.new_full((size, size), float("-inf")).triu_(1)
        found = (cum.unsqueeze(2) - cum.unsqueeze(1)).add_(ahead)
        return found.add_(rest.unsqueeze(2)).sub_(rest.unsqueeze(1)).exp_()

    def per_group(self, weights: Tensor) -> Tensor:
        """[H, Q, Q] seen as [G, R, Q, Q]."""
        return weights.view(self.B.shape[0], -1, *weights.shape[1:])

    def read(self, state: Tensor, keys: Tensor) -> Tensor:
        """[Q, H, P]: each token's key against a state [G, R P, N]."""
        found = torch.empty_like(self.x)
        torch.bmm(keys, state.mT, out=self.by_group(found))
        return found

    def write(self, state: Tensor, values: Tensor, keys: Tensor) -> None:
        """Take ``state`` [G, R P, N] through the chunk and add each token's ``values keys^T``."""
        state.view(len(self.through), -1).mul_(self.through.unsqueeze(1))
        state.baddbmm_(self.by_group(values).mT, keys)

    def step(self, state: Tensor) -> None:
        """Make the state at the chunk's entry the one at its exit."""
        self.write(state, self.xd * self.left.unsqueeze(-1), self.B)


def _by_head(values: Tensor) -> Tensor:
    """[Q, H, P] seen as [H, Q, P]."""
    return values.transpose(0, 1)


class _Row:
    """One row's inputs, cut into chunks."""

    def __init__(self, row: int, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> None:
        self._row, self._A, self._tokens = row, A, (x[row], dt[row], B[row], C[row])
        self.parts = [slice(at, at + CHUNK) for at in range(0, x.shape[1], CHUNK)]

    def chunk(self, part: slice) -> _Chunk:
        """The tokens of ``part``."""
        x, dt, B, C = (tokens[part] for tokens in self._tokens)
        return _Chunk(x, dt, self._A, B, C)

    def as_groups(self, states: Tensor) -> Tensor:
        """This row's of [rows, H, P, N] seen as [G, R P, N]."""
        groups = self._tokens[2].shape[1]
        return states[self._row].view(groups, -1, states.shape[3])


def forward(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, first: Tensor | None
) -> tuple[Tensor, Tensor]:
    """``y`` in the dtype of x and the last state in fp32.

    x: [rows, T, H, P]. dt: [rows, T, H]. A, D: [H]. B, C: [rows, T, G, N].
    first: [rows, H, P, N]. dt, A, D and first are fp32.
    """
    y = torch.empty_like(x, memory_format=torch.contiguous_format)
    last = _first_states(x, B, first)
    for row in range(x.shape[0]):
        here = _Row(row, x, dt, A, B, C)
        state = here.as_groups(last)
        for part in here.parts:
            chunk = here.chunk(part)
            y[row, part] = _outputs(chunk, D, state)
            chunk.step(state)
    return y, last


def _first_states(x: Tensor, B: Tensor, first: Tensor | None) -> Tensor:
    """[rows, H, P, N], to be written over."""
    if first is not None:
        return first.clone(memory_format=torch.contiguous_format)
    rows, _, heads, width = x.shape
    return x.new_zeros(rows, heads, width, B.shape[3], dtype=torch.float32)


def _outputs(chunk: _Chunk, D: Tensor | None, state: Tensor) -> Tensor:
    """``y`` of a chunk, [Q, H, P]."""
    weights = chunk.decays()
    chunk.per_group(weights).mul_((chunk.C @ chunk.B.mT).unsqueeze(1))
    y = chunk.read(state, chunk.C).mul_(chunk.into.unsqueeze(-1))
    _by_head(y).baddbmm_(weights, _by_head(chunk.xd))
    return y if D is None else y.addcmul_(D.unsqueeze(-1), chunk.x)


def backward(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, first: Tensor | None,
    dy: Tensor, dlast: Tensor,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Gradients of x, dt, A, B, C, D and the first state, as `forward` takes them.

    dy: [rows, T, H, P]. dlast: [rows, H, P, N] fp32.
    """
    dx, dB, dC = (torch.empty_like(t, memory_format=torch.contiguous_format) for t in (x, B, C))
    ddt, dD = torch.empty_like(dt), torch.zeros_like(A)
    dA = torch.zeros_like(A, dtype=torch.float64)
    starts, carries = _first_states(x, B, first), _first_states(x, B, dlast)
    for row in range(x.shape[0]):
        here = _Row(row, x, dt, A, B, C)
        states, carry = _entries(here, here.as_groups(starts)), here.as_groups(carries)
        for part, state in zip(reversed(here.parts), reversed(states.unbind()), strict=True):
            chunk, grad = here.chunk(part), dy[row, part].float().contiguous()
            dxd, along, dB_c, dC_c = _gradients(chunk, grad, state, carry)
            ddt[row, part] = A * along + (dxd * chunk.x).sum(-1)
            dA += (chunk.dt * along).sum(0)
            dD += (grad * chunk.x).sum((0, 2))
            dxd.mul_(chunk.dt.unsqueeze(-1))
            dx[row, part] = dxd if D is None else dxd.addcmul_(D.unsqueeze(-1), grad)
            dB[row, part], dC[row, part] = dB_c.transpose(0, 1), dC_c.transpose(0, 1)
    return dx, ddt, dA.float(), dB, dC, dD, carries


def _entries(row: _Row, state: Tensor) -> Tensor:
    """The states at the entry of every chunk of a row: [chunks, G, R P, N]."""
    found = state.new_empty(len(row.parts), *state.shape)
    found[0] = state
    for part, before, after in zip(row.parts, found, found[1:], strict=False):
        after.copy_(before)
        row.chunk(part).step(after)
    return found


def _gradients(chunk: _Chunk, dy: Tensor, state: Tensor, carry: Tensor) -> tuple[Tensor, ...]:
    """Of dt x, of dt A at each token, of B and of C; README.md derives them.

    ``state``: at the chunk's entry. ``carry``: gradient of the state at its exit, which becomes
    that of the one at its entry.
    """
    weights, scores = chunk.decays(), (chunk.C @ chunk.B.mT).unsqueeze(1)
    products = torch.bmm(_by_head(dy), _by_head(chunk.xd).mT).mul_(weights)
    pairs = chunk.per_group(products).sum(1)
    chunk.per_group(products).mul_(scores)
    chunk.per_group(weights).mul_(scores)
    dy_in, xd_out = dy * chunk.into.unsqueeze(-1), chunk.xd * chunk.left.unsqueeze(-1)
    dC = (pairs @ chunk.B).baddbmm_(chunk.by_group(dy_in), state)
    dB = (pairs.mT @ chunk.C).baddbmm_(chunk.by_group(xd_out), carry)
    # float64, as what is read at a token and what is read of it cancel but for a few pairs.
    wide = torch.float64
    crossing = (products.sum(2, dtype=wide) - products.sum(1, dtype=wide)).mT
    later = chunk.read(state, chunk.C).mul_(dy_in).sum(-1) + crossing
    dxd = chunk.read(carry, chunk.B)
    earlier = xd_out.mul_(dxd).sum(-1)
    dxd.mul_(chunk.left.unsqueeze(-1))
    _by_head(dxd).baddbmm_(weights.mT, _by_head(dy))
    passed = chunk.through * (state * carry).view(len(chunk.through), -1).sum(1)
    # Of dt A at a token: what reads at it or later, what was stored before it, what passes through.
    along = later.sum(0) - later.cumsum(0) + later + earlier.cumsum(0) - earlier + passed
    chunk.write(carry, dy_in, chunk.C)
    return dxd, along, dB, dC
