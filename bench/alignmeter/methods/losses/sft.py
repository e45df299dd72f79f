"""Supervised fine-tuning: the negative log-likelihood of demonstrations."""

__all__ = ["sft_loss"]

import torch


def sft_loss(logprobs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """``-sum(mask * log p) / sum(mask)``: every real response token of the batch weighs the same.

    InstructGPT, https://arxiv.org/abs/2203.02155, section 3.1; prompt tokens do not count.

    Args:
        logprobs: [rows, T-P] log-probs of the response tokens.
        mask: [rows, T-P], 1 where a token is real, at least one of them.
    """
    return -(logprobs * mask).sum() / mask.sum()
