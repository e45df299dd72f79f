"""Proximal Policy Optimization for language models.

Sources: PPO https://arxiv.org/abs/1707.06347 (equation 7), GAE https://arxiv.org/abs/1506.02438
(equation 16), the KL-shaped reward of InstructGPT https://arxiv.org/abs/2203.02155 (section 3.5).
Shapes: R rollouts, N generated tokens; every tensor is [R, N] unless said otherwise.
"""

__all__ = ["gae", "kl_rewards", "ppo_policy_loss", "ppo_value_loss", "whiten"]

import torch

from alignmeter.architectures.tracing import is_tracing


def kl_rewards(
    logprobs: torch.Tensor, ref_logprobs: torch.Tensor, scores: torch.Tensor, *, kl_coef: float
) -> torch.Tensor:
    """``-kl_coef * (log pi - log ref)`` per token, plus the score [R] on the last token."""
    rewards = -kl_coef * (logprobs - ref_logprobs)
    rewards[:, -1] += scores
    return rewards


def gae(
    rewards: torch.Tensor, values: torch.Tensor, *, gamma: float, lam: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Advantages and returns of episodes that end with their last token.

    ``delta_t = r_t + gamma V_{t+1} - V_t``, ``A_t = delta_t + gamma lam A_{t+1}``, with
    ``V_N = A_N = 0``; the return is ``A_t + V_t``. Without data the loop over the tokens is left
    out, whose temporaries are [R].
    """
    if is_tracing():
        return torch.empty_like(rewards), torch.empty_like(values)
    advantages = torch.empty_like(rewards)
    running = torch.zeros_like(rewards[:, 0])
    following = torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * following - values[:, t]
        running = delta + gamma * lam * running
        advantages[:, t] = running
        following = values[:, t]
    return advantages, advantages + values


def whiten(values: torch.Tensor) -> torch.Tensor:
    """Zero mean and unit variance over all tokens of the batch.

    The variance is the unbiased one, as in TRL; OpenAI's first code took the biased one.
    """
    return (values - values.mean()) * torch.rsqrt(values.var() + 1e-8)


def ppo_policy_loss(
    logprobs: torch.Tensor, old_logprobs: torch.Tensor, advantages: torch.Tensor, *, clip: float
) -> torch.Tensor:
    """``mean(max(-A r, -A clamp(r, 1 - clip, 1 + clip)))`` with ``r = exp(log pi - log old)``."""
    ratio = (logprobs - old_logprobs).exp()
    return torch.max(-advantages * ratio, -advantages * ratio.clamp(1 - clip, 1 + clip)).mean()


def ppo_value_loss(
    values: torch.Tensor, old_values: torch.Tensor, returns: torch.Tensor, *, clip: float
) -> torch.Tensor:
    """``mean(max((V - R)^2, (clamp(V, old +- clip) - R)^2)) / 2``."""
    clipped = torch.maximum(torch.minimum(values, old_values + clip), old_values - clip)
    return 0.5 * torch.max((values - returns) ** 2, (clipped - returns) ** 2).mean()
