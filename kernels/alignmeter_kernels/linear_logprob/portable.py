"""Log-probs from hidden states in pure torch: a slice of the vocabulary at a time.

The vocabulary is cut, not the tokens: the weight, by far the larger operand, is then read once per
pass, and its gradient is written once, slice by slice.
"""

__all__ = ["backward", "forward"]

from collections.abc import Iterator

import torch

from alignmeter_kernels.planning import is_planning

Tensor = torch.Tensor

_SLICE_BYTES = 4 * 2**20
"""Logits held at once, in fp32: little enough to stay in a processor's last cache from one
operation to the next, and enough words for the matrix product (`suites/bench_kernels.py`)."""
_LEAST_WORDS = 256


def _slices(tokens: int, vocabulary: int) -> Iterator[tuple[int, int]]:
    size = max(_LEAST_WORDS, _SLICE_BYTES // (4 * max(tokens, 1)))
    return ((start, min(start + size, vocabulary)) for start in range(0, vocabulary, size))


def _tokens_of(labels: Tensor, start: int, end: int) -> Tensor:
    """Which tokens have their label in the slice; while planning all, the most there can be."""
    if is_planning():
        return torch.arange(labels.shape[0], device=labels.device)
    return ((labels >= start) & (labels < end)).nonzero().squeeze(1)


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """``total += a @ b``, the sum in fp32 also where the product is of half precision."""
    if b.dtype == torch.float32:
        total.addmm_(a, b)
    else:
        total.add_(a.to(b.dtype) @ b)


def forward(
    hidden: Tensor, weight: Tensor, labels: Tensor, *, direction: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Log-probs, entropies, logsumexps, all [T] fp32, and the direction [T, H] or an empty tensor.

    The direction is ``weight[label] - sum_v p_v weight[v]``, the gradient of a token's log-prob by
    its hidden state. With it the backward pass of a frozen head needs no logits at all. Maximum,
    sum of exponentials and mean are carried from slice to slice and rescaled as the maximum grows.
    """
    tokens, width = hidden.shape
    top = hidden.new_full((tokens,), -torch.inf, dtype=torch.float32)
    total, weighted = (hidden.new_zeros(tokens, dtype=torch.float32) for _ in range(2))
    mean = hidden.new_zeros(tokens, width, dtype=torch.float32) if direction else None
    picked = hidden.new_empty(tokens, dtype=torch.float32)
    for start, end in _slices(tokens, weight.shape[0]):
        logits = (hidden @ weight[start:end].mT).float()
        here = _tokens_of(labels, start, end)
        picked[here] = logits[here, labels[here] - start]
        highest = torch.maximum(top, logits.amax(1))
        drop = top - highest
        shrink = drop.exp()
        shifted = logits.sub_(highest.unsqueeze(1))
        share = shifted.exp()
        # Shares are relative to the maximum: moving it by ``drop`` moves their logits as well.
        weighted = (weighted + drop.nan_to_num(neginf=0.0) * total) * shrink
        weighted += shifted.mul_(share).sum(1)
        total = total.mul_(shrink).add_(share.sum(1))
        if mean is not None:
            _add_product(mean.mul_(shrink.unsqueeze(1)), share, weight[start:end])
        top = highest
    lse = total.log() + top
    entropy = total.log() - weighted / total
    if mean is None:
        return picked - lse, entropy, lse, hidden.new_empty(0)
    mean.div_(total.unsqueeze(1))
    return picked - lse, entropy, lse, (weight[labels].float() - mean).to(hidden.dtype)


def backward(
    hidden: Tensor, weight: Tensor, labels: Tensor, lse: Tensor, grad: Tensor, *, trained: bool
) -> tuple[Tensor, Tensor]:
    """Gradients of ``hidden`` and of a ``trained`` weight (else empty); logits come again."""
    tokens = hidden.shape[0]
    dhidden = hidden.new_zeros(hidden.shape, dtype=torch.float32)
    dweight = torch.empty_like(weight) if trained else weight.new_empty(0)
    down = -grad.unsqueeze(1)
    for start, end in _slices(tokens, weight.shape[0]):
        slope = (hidden @ weight[start:end].mT).float()
        slope.sub_(lse.unsqueeze(1)).exp_().mul_(down)
        here = _tokens_of(labels, start, end)
        slope[here, labels[here] - start] += grad[here]
        slope = slope.to(hidden.dtype)
        _add_product(dhidden, slope, weight[start:end])
        if trained:
            torch.mm(slope.mT, hidden, out=dweight[start:end])
    return dhidden.to(hidden.dtype), dweight
