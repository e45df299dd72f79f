"""Log-probs from hidden states in pure torch: a few tokens' logits at a time."""

__all__ = ["backward", "forward"]

from collections.abc import Iterator

import torch

Tensor = torch.Tensor

_CHUNK_BYTES = 32 * 2**20
"""Logits held at once, in fp32. At V = 128256 that is 65 tokens: enough rows for the matrix product
to run at the speed of the whole one (measured: `suites/bench_kernels.py`)."""


def _parts(tokens: int, vocabulary: int) -> Iterator[slice]:
    size = max(16, _CHUNK_BYTES // (4 * vocabulary))
    return (slice(start, start + size) for start in range(0, tokens, size))


def forward(
    hidden: Tensor, weight: Tensor, labels: Tensor, *, direction: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Log-probs, entropies, logsumexps, all [T] fp32, and the direction [T, H] or an empty tensor.

    The direction is ``weight[label] - sum_v p_v weight[v]``, the gradient of a token's log-prob by
    its hidden state. With it the backward pass of a frozen head needs no logits at all.
    """
    tokens = hidden.shape[0]
    logprobs, entropy, lse = (hidden.new_empty(tokens, dtype=torch.float32) for _ in range(3))
    directions = torch.empty_like(hidden) if direction else hidden.new_empty(0)
    for part in _parts(tokens, weight.shape[0]):
        logits = (hidden[part] @ weight.mT).float()
        lse[part] = logits.logsumexp(-1)
        picked = logits.gather(-1, labels[part].unsqueeze(-1)).squeeze(-1)
        logprobs[part] = picked - lse[part]
        shifted = logits.sub_(lse[part].unsqueeze(-1))
        probabilities = shifted.exp()
        entropy[part] = -torch.linalg.vecdot(probabilities, shifted)
        if direction:
            mean = probabilities.to(hidden.dtype) @ weight
            torch.sub(weight[labels[part]], mean, out=directions[part])
    return logprobs, entropy, lse, directions


def backward(
    hidden: Tensor, weight: Tensor, labels: Tensor, lse: Tensor, grad: Tensor, *, trained: bool
) -> tuple[Tensor, Tensor]:
    """Gradients of ``hidden`` and of a ``trained`` weight (else empty); logits come again."""
    dhidden = torch.empty_like(hidden)
    dweight = torch.zeros_like(weight) if trained else weight.new_empty(0)
    for part in _parts(hidden.shape[0], weight.shape[0]):
        slope = (hidden[part] @ weight.mT).float()
        slope.sub_(lse[part].unsqueeze(-1)).exp_().mul_(-grad[part].unsqueeze(-1))
        slope.scatter_add_(-1, labels[part].unsqueeze(-1), grad[part].unsqueeze(-1))
        slope = slope.to(hidden.dtype)
        torch.mm(slope, weight, out=dhidden[part])
        if trained:
            dweight.addmm_(slope.mT, hidden[part])
    return dhidden, dweight
