"""Distillation on the student's own tokens: generalised Jensen-Shannon divergence to a teacher.

GKD, https://arxiv.org/abs/2306.13649, section 2, equation 1.
"""

__all__ = ["divergence", "divergence_of_states"]

import math
from collections.abc import Callable

import torch
from torch.utils.checkpoint import checkpoint

Tensor = torch.Tensor
_PART_BYTES = 32 * 2**20
"""Logits held at once, in fp32: a part's products are large enough by then to run at full rate."""


def divergence(student: Tensor, teacher: Tensor, *, beta: float) -> Tensor:
    """``beta KL(t || m) + (1 - beta) KL(s || m)``, ``m = beta t + (1 - beta) s``, of each token.

    At the ends it is what the formula tends to when divided by beta or ``1 - beta``: 0 is the
    forward divergence ``KL(t || s)``, 1 the reverse one ``KL(s || t)``, as GKD and TRL have it.

    Args:
        student, teacher: [..., V] logits.

    Returns:
        [...] in fp32, summed over the vocabulary.
    """
    s, t = student.float().log_softmax(-1), teacher.float().log_softmax(-1)
    if beta == 0.0:
        return _kl(t, s)
    if beta == 1.0:
        return _kl(s, t)
    mixed = torch.logaddexp(t + math.log(beta), s + math.log1p(-beta))
    return beta * _kl(t, mixed) + (1 - beta) * _kl(s, mixed)


def _kl(p: Tensor, q: Tensor) -> Tensor:
    """``KL(p || q)`` of log-probabilities."""
    return (p.exp() * (p - q)).sum(-1)


def divergence_of_states(
    student: Tensor,
    teacher: Tensor,
    heads: tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]],
    *,
    beta: float,
    vocab: int,
) -> Tensor:
    """`divergence` [M] of hidden states [M, D], some rows at a time.

    The logits of a part are made by the ``heads`` of student and teacher, and once more in the
    backward pass: two models' logits of a whole batch are never there.
    """
    rows = max(1, _PART_BYTES // (4 * vocab))

    def part(s: Tensor, t: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = heads[1](t)
        return divergence(heads[0](s), wanted, beta=beta)

    parts = [
        checkpoint(part, s, t, use_reentrant=False, preserve_rng_state=False)
        for s, t in zip(student.split(rows), teacher.split(rows), strict=True)
    ]
    return torch.cat(parts)
