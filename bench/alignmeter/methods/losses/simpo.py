"""Simple Preference Optimization, https://arxiv.org/abs/2405.14734, equation 6."""

__all__ = ["simpo_loss"]

import torch
import torch.nn.functional as F


def simpo_loss(
    logprobs: torch.Tensor, mask: torch.Tensor, *, beta: float, gamma: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """``-log sigmoid(beta (m_w - m_l) - gamma)``, mean over pairs; ``m``: a row's mean log-prob.

    Args:
        logprobs: [2B, N] of the response tokens, the B chosen rows first.
        mask: [2B, N], 1 where a token is real, at least one in each row.
        gamma: the target margin, not divided by beta.

    Returns:
        The scalar loss and the share of pairs with ``m_w > m_l`` (a tie counts as wrong).
    """
    chosen, rejected = ((logprobs * mask).sum(1) / mask.sum(1)).chunk(2)
    loss = -F.logsigmoid(beta * (chosen - rejected) - gamma)
    return loss.mean(), (chosen > rejected).float().mean()
