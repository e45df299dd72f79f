"""The plain sum over the taps."""

__all__ = ["causal_conv1d_reference"]

import torch
import torch.nn.functional as F


def causal_conv1d_reference(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, *, silu: bool = True
) -> torch.Tensor:
    """``y_t = sum_k w_k x_{t - K + 1 + k} + b`` per channel, through SiLU if asked.

    Mamba, https://arxiv.org/abs/2312.00752, section 3.4: a token sees itself and the K - 1 before.

    Args:
        x: [rows, D, T]. weight: [D, K]. bias: [D].

    Returns:
        [rows, D, T] in the dtype of ``x``.
    """
    taps = weight.shape[1]
    padded = F.pad(x, (taps - 1, 0))
    y = torch.zeros_like(x)
    for k in range(taps):
        y = y + weight[:, k, None] * padded[:, :, k : k + x.shape[2]]
    if bias is not None:
        y = y + bias[:, None]
    return F.silu(y) if silu else y
