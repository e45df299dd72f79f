"""REINFORCE Leave-One-Out, https://arxiv.org/abs/2402.14740."""

__all__ = ["rloo_loss"]

import torch


def rloo_loss(
    logprobs: torch.Tensor,
    old_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    mask: torch.Tensor,
    *,
    clip: float,
) -> torch.Tensor:
    """``-min(r A, clamp(r, 1 - clip, 1 + clip) A)``, mean over rollouts.

    ``r = exp(sum(mask * (logprobs - old_logprobs)))`` is that of the whole answer: the paper takes
    an answer for one action. Its own loss is ``-A log pi`` without a clip, which on the policy that
    sampled has the same gradient; the clip is there as TRL 1.16 has it.

    Args:
        logprobs: [R, N] of the response tokens. old_logprobs: the same of the policy that sampled.
        advantages: [R]. mask: [R, N], 1 where a token is real.
    """
    ratio = ((logprobs - old_logprobs) * mask).sum(1).exp()
    return -torch.min(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages).mean()
