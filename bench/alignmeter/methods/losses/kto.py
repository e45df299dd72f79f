"""Kahneman-Tversky Optimization, https://arxiv.org/abs/2402.01306, equation 8; TRL 1.16 calls it 7.

Shapes: R rows; ``policy`` and ``ref`` are [R] summed response log-probs, ``ref`` without gradient.
"""

__all__ = ["kto_loss", "kto_reference_point"]

import torch

Tensor = torch.Tensor


def kto_reference_point(policy: Tensor, ref: Tensor) -> Tensor:
    """``z_0 = max(0, mean(policy - ref))`` over rows whose answers belong to other prompts; scalar
    without gradient: the estimate of the KL divergence as TRL 1.16 has it, not to be trained on.
    """
    return (policy - ref).mean().clamp(min=0).detach()


def kto_loss(
    policy: Tensor,
    ref: Tensor,
    desirable: Tensor,
    reference_point: Tensor,
    *,
    beta: float,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """``lambda_y - v(x, y)``, mean over rows, with ``h = policy - ref``.

    ``v`` is ``lambda_D sigmoid(beta (h - z_0))`` for a desirable answer and ``lambda_U sigmoid(beta
    (z_0 - h))`` for an undesirable one.

    Args:
        desirable: [R] bool. reference_point: ``z_0``, scalar.

    Returns:
        The scalar loss and the share of rows on the right side of ``z_0`` (a tie counts as wrong).
    """
    gain = policy - ref - reference_point
    signed = torch.where(desirable, gain, -gain)
    weight = torch.where(desirable, desirable_weight, undesirable_weight)
    loss = weight * (1 - torch.sigmoid(beta * signed))
    return loss.mean(), (signed > 0).float().mean()
