"""The plain version."""

__all__ = ["token_logprob"]

import torch

from alignmeter_kernels.paths import note


def token_logprob(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """``log softmax(logits)[label]`` for each token.

    Args:
        logits: [rows, T, V], any float dtype; the softmax is taken in fp32 or wider.
        labels: [rows, T], int64, each in [0, V).

    Returns:
        [rows, T] in fp32, or fp64 for fp64 logits.

    Raises:
        ValueError: if the leading shapes differ or ``labels`` is not int64.
    """
    if logits.shape[:-1] != labels.shape:
        raise ValueError(
            f"labels {tuple(labels.shape)} do not match logits {tuple(logits.shape)}: "
            "want [rows, T] beside [rows, T, V]"
        )
    if labels.dtype != torch.int64:
        raise ValueError(f"labels are {labels.dtype}; want torch.int64")
    note("token_logprob", "torch")
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return wide.log_softmax(-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
