"""Selective scan in pure torch: the path of every device without a faster one.

Time-first chunks, one ``addcmul`` per token, the state kept at chunk borders only; the backward
pass recomputes a chunk's states and is written by hand, because autograd would keep them all.
"""

__all__ = ["CHUNK", "scan_backward", "scan_forward"]

import torch

CHUNK = 64
"""Tokens between kept states: the kept ones and a chunk's own are of like size at T = 4096."""

Tensor = torch.Tensor


def scan_forward(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    first: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """``y`` [rows, D, T], the last state and the kept states [rows, chunks, D, N].

    u, dt: [rows, D, T]. A: [D, N]. B, C: [rows, N, T]. first: [rows, D, N].
    """
    y = torch.empty_like(u, memory_format=torch.contiguous_format)
    state, kept = first, []
    for from_ in range(0, u.shape[2], CHUNK):
        part = slice(from_, from_ + CHUNK)
        kept.append(state)
        states = _states(u, dt, B, part, state, _decays(dt, A, part))
        y[:, :, part] = torch.einsum("tbdn,bnt->bdt", states, C[:, :, part])
        state = states[-1].clone()
    return y, state, torch.stack(kept, dim=1)


def _decays(dt: Tensor, A: Tensor, part: slice) -> Tensor:
    """``exp(dt A)``: [n, rows, D, N]."""
    return torch.mul(_time_first(dt[:, :, part]).unsqueeze(-1), A).exp_()


def _time_first(values: Tensor) -> Tensor:
    return values.movedim(2, 0)


def _states(u: Tensor, dt: Tensor, B: Tensor, part: slice, state: Tensor, decays: Tensor) -> Tensor:
    """The states after each token of a chunk: [n, rows, D, N]."""
    inputs = _time_first(dt[:, :, part] * u[:, :, part]).unsqueeze(-1)
    states = inputs * _time_first(B[:, :, part]).unsqueeze(2)
    for decay, slot in zip(decays.unbind(0), states.unbind(0), strict=True):
        state = slot.addcmul_(decay, state)
    return states


def scan_backward(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    kept: Tensor,
    dy: Tensor,
    dlast: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of u, dt, A, B, C and the first state, and ``y`` again (its gate needs it)."""
    du, ddt, y = (torch.empty_like(u, memory_format=torch.contiguous_format) for _ in range(3))
    dA, dB, dC = torch.zeros_like(A), torch.empty_like(B), torch.empty_like(C)
    carry = dlast
    for number in reversed(range(kept.shape[1])):
        part = slice(number * CHUNK, (number + 1) * CHUNK)
        step, x = dt[:, :, part], u[:, :, part]
        decays = _decays(dt, A, part)
        states = _states(u, dt, B, part, kept[:, number], decays)
        y[:, :, part] = torch.einsum("tbdn,bnt->bdt", states, C[:, :, part])
        dC[:, :, part] = torch.einsum("bdt,tbdn->bnt", dy[:, :, part], states)
        # Gradient of each state: its own output's, and the next state's through the decay.
        grads = _time_first(dy[:, :, part]).unsqueeze(-1) * _time_first(C[:, :, part]).unsqueeze(2)
        slots, factors = grads.unbind(0), decays.unbind(0)
        slots[-1].add_(carry)
        for t in range(len(slots) - 2, -1, -1):
            slots[t].addcmul_(factors[t + 1], slots[t + 1])
        carry = factors[0] * slots[0]
        dB[:, :, part] = torch.einsum("bdt,tbdn->bnt", step * x, grads)
        through = torch.einsum("tbdn,bnt->bdt", grads, B[:, :, part])
        before = torch.cat([kept[:, number].unsqueeze(0), states[:-1]])
        by_decay = decays.mul_(grads).mul_(before)
        dA += torch.einsum("tbdn,bdt->dn", by_decay, step)
        du[:, :, part] = through * step
        ddt[:, :, part] = through * x + torch.einsum("tbdn,dn->bdt", by_decay, A)
    return du, ddt, dA, dB, dC, carry, y
