"""Pairwise reward modelling (Bradley-Terry), https://arxiv.org/abs/2203.02155, equation 1."""

__all__ = ["rm_loss"]

import torch
import torch.nn.functional as F


def rm_loss(scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """``-log sigmoid(r_w - r_l)``, mean over pairs.

    Args:
        scores: [2B] scores of whole answers, the B chosen rows first.

    Returns:
        The scalar loss and the share of pairs ranked right (a tie counts as wrong).
    """
    chosen, rejected = scores.chunk(2)
    margin = chosen - rejected
    return -F.logsigmoid(margin).mean(), (margin > 0).float().mean()
