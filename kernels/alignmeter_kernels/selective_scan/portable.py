"""Selective scan in pure torch: the path of every device without a faster one.

Time-first chunks, one ``addcmul`` per token, the state kept at chunk borders only; the backward
pass recomputes a chunk's states and is written by hand, because autograd would keep them all.
Every product over states or channels is a `torch.bmm` of contiguous operands: on other views
it copies each of its many small matrices first, and that took half of the time.
"""

__all__ = ["CHUNK", "scan_backward", "scan_forward"]

import torch

CHUNK = 64
"""Tokens between kept states: the kept ones and a chunk's own are of like size at T = 4096."""

Tensor = torch.Tensor


def _time_first(values: Tensor) -> Tensor:
    """[rows, X, T] as [T, rows, X], contiguous."""
    return values.movedim(2, 0).contiguous()


def _parts(length: int) -> list[slice]:
    return [slice(start, start + CHUNK) for start in range(0, length, CHUNK)]


def _over_states(states: Tensor, vectors: Tensor) -> Tensor:
    """``sum_n``: [t, rows, D, N] with [t, rows, N] gives [t, rows, D]."""
    return torch.bmm(states.flatten(0, 1), vectors.flatten(0, 1).unsqueeze(2)).view(
        states.shape[:-1]
    )


def _over_channels(vectors: Tensor, states: Tensor) -> Tensor:
    """``sum_d``: [t, rows, D] with [t, rows, D, N] gives [t, rows, N]."""
    found = torch.bmm(vectors.flatten(0, 1).unsqueeze(1), states.flatten(0, 1))
    return found.view(*states.shape[:2], states.shape[-1])


def _states(inputs: Tensor, B: Tensor, state: Tensor, decays: Tensor) -> Tensor:
    """The state before a chunk and after each of its tokens: [n + 1, rows, D, N]."""
    states = inputs.new_empty(inputs.shape[0] + 1, *state.shape)
    states[0] = state
    torch.mul(inputs.unsqueeze(-1), B.unsqueeze(2), out=states[1:])
    slots = states.unbind(0)
    for decay, before, slot in zip(decays.unbind(0), slots[:-1], slots[1:], strict=True):
        slot.addcmul_(decay, before)
    return states


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
    for part in _parts(u.shape[2]):
        step, x, b, c = (_time_first(t[:, :, part]) for t in (dt, u, B, C))
        kept.append(state)
        decays = torch.mul(step.unsqueeze(-1), A).exp_()
        states = _states(step * x, b, state, decays)
        y[:, :, part] = _over_states(states[1:], c).movedim(0, 2)
        state = states[-1].clone()
    return y, state, torch.stack(kept, dim=1)


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
    for number, part in reversed(list(enumerate(_parts(u.shape[2])))):
        step, x, b, c, above = (_time_first(t[:, :, part]) for t in (dt, u, B, C, dy))
        decays = torch.mul(step.unsqueeze(-1), A).exp_()
        inputs = step * x
        states = _states(inputs, b, kept[:, number], decays)
        y[:, :, part] = _over_states(states[1:], c).movedim(0, 2)
        dC[:, :, part] = _over_channels(above, states[1:]).movedim(0, 2)
        # Gradient of each state: its own output's, and the next state's through the decay.
        grads = above.unsqueeze(-1) * c.unsqueeze(2)
        slots, factors = grads.unbind(0), decays.unbind(0)
        slots[-1].add_(carry)
        for t in range(len(slots) - 2, -1, -1):
            slots[t].addcmul_(factors[t + 1], slots[t + 1])
        carry = factors[0] * slots[0]
        dB[:, :, part] = _over_channels(inputs, grads).movedim(0, 2)
        through = _over_states(grads, b)
        du[:, :, part] = (through * step).movedim(0, 2)
        by_decay = decays.mul_(grads).mul_(states[:-1])
        dA += torch.mul(by_decay, step.unsqueeze(-1), out=grads).sum((0, 1))
        of_step = by_decay.mul_(A).sum(-1).addcmul_(through, x)
        ddt[:, :, part] = of_step.movedim(0, 2)
    return du, ddt, dA, dB, dC, carry, y
