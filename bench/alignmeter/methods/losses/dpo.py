"""Direct Preference Optimization, https://arxiv.org/abs/2305.18290, equation 7."""

__all__ = ["dpo_loss"]

import torch
import torch.nn.functional as F


def dpo_loss(
    policy: torch.Tensor, ref: torch.Tensor, *, beta: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """``-log sigmoid(beta * ((pi_w - ref_w) - (pi_l - ref_l)))``, mean over pairs.

    Args:
        policy: [2B] summed response log-probs of the policy, the B chosen rows first.
        ref: [2B] the same under the ref_model, without gradient.
        beta: strength of the implicit KL constraint.

    Returns:
        The scalar loss and the share of pairs with a positive margin (a tie counts as wrong).
    """
    chosen, rejected = (policy - ref).chunk(2)
    margin = beta * (chosen - rejected)
    return -F.logsigmoid(margin).mean(), (margin > 0).float().mean()
