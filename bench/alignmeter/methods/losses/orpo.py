"""Odds Ratio Preference Optimization, https://arxiv.org/abs/2403.07691, equations 6 and 7."""

__all__ = ["log_odds", "orpo_loss"]

import math

import torch
import torch.nn.functional as F

Tensor = torch.Tensor
_HALF = -math.log(2.0)
"""Log-prob where the two forms of `log_odds` meet."""


def log_odds(mean_logprob: Tensor) -> Tensor:
    """``log(p / (1 - p))`` of ``p = exp(mean_logprob)``, which is 0 at most: equations 3 and 4.

    Of a p that rounds to 1 they end at the dtype's largest odds with a slope of 1: they would be
    infinite there, and the loss's gradient, of which they are a factor, NaN.

    ``log(1 - p)`` in whichever of two forms cancels nothing (Maechler, 2012, "Accurately computing
    log(1 - exp(-|a|))", equation 7).
    """
    # Each form is held to its own side: beyond, its slope is infinite, and 0 times that is NaN.
    least = torch.finfo(mean_logprob.dtype).tiny
    near_one = (-torch.expm1(mean_logprob.clamp(min=_HALF, max=-least))).log()
    near_zero = torch.log1p(-mean_logprob.clamp(max=_HALF).exp())
    return mean_logprob - torch.where(mean_logprob > _HALF, near_one, near_zero)


def orpo_loss(
    nll: Tensor, logprobs: Tensor, mask: Tensor, *, weight: float
) -> tuple[Tensor, Tensor]:
    """``nll - weight * log sigmoid(log_odds_w - log_odds_l)``, the second a mean over pairs.

    Args:
        nll: scalar negative log-likelihood of the chosen sequences.
        logprobs: [2B, N] of the response tokens, the B chosen rows first.
        mask: [2B, N], 1 where a token is real, at least one in each row.
        weight: lambda of equation 6.

    Returns:
        The scalar loss and the share of pairs whose chosen answer is likelier per token.
    """
    chosen, rejected = ((logprobs * mask).sum(1) / mask.sum(1)).chunk(2)
    ratio = log_odds(chosen) - log_odds(rejected)
    return nll - weight * F.logsigmoid(ratio).mean(), (chosen > rejected).float().mean()
