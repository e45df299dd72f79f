"""Direct Preference Optimization and losses of its kind, on the same margins.

Shapes: ``policy`` and ``ref`` are [2B] summed response log-probs, the B chosen rows first, ``ref``
without gradient; ``lengths`` [2B] are response tokens. ``h = policy - ref`` of a row, ``h_w``
and ``h_l`` of the two rows of a pair. Every loss is a mean over pairs.
"""

__all__ = ["DPO_LOSSES", "DpoLoss", "dpo_loss"]

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

Tensor = torch.Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class DpoLoss:
    """``of(chosen, rejected, beta)``: the loss of each pair of log-ratios. ``averaged``: these are
    divided by the response's tokens first. ``first(beta)``: its value where policy and ref_model
    are one.
    """

    of: Callable[[Tensor, Tensor, float], Tensor]
    first: Callable[[float], float]
    averaged: bool = False


def _sigmoid(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """``-log sigmoid(beta (h_w - h_l))``: https://arxiv.org/abs/2305.18290, equation 7."""
    return -F.logsigmoid(beta * (chosen - rejected))


def _hinge(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """``max(0, 1 - beta (h_w - h_l))``: "hinge-norm" of https://arxiv.org/abs/2309.06657, beta for
    its gamma: the hinge of SLiC, https://arxiv.org/abs/2305.10425, section 2, on DPO's margin.
    """
    return torch.relu(1 - beta * (chosen - rejected))


def _ipo(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """``(h_w - h_l - 1 / (2 beta))^2``: https://arxiv.org/abs/2310.12036, equation 17, beta for its
    tau. Log-ratios are means over tokens, as its authors told TRL; the paper prints sums.
    """
    return (chosen - rejected - 1 / (2 * beta)) ** 2


def _apo_zero(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """``1 - sigmoid(beta h_w) + sigmoid(beta h_l)``: APO's zero variant,
    https://arxiv.org/abs/2408.06266, equation 7 as TRL 1.16 has it: chosen answers get likelier and
    rejected ones less likely, each by itself.
    """
    return 1 - torch.sigmoid(beta * chosen) + torch.sigmoid(beta * rejected)


_LN2 = 0.6931471805599453
DPO_LOSSES: dict[str, DpoLoss] = {
    "sigmoid": DpoLoss(of=_sigmoid, first=lambda _: _LN2),
    "ipo": DpoLoss(of=_ipo, first=lambda beta: 1 / (4 * beta**2), averaged=True),
    "apo-zero": DpoLoss(of=_apo_zero, first=lambda _: 1.0),
    "hinge": DpoLoss(of=_hinge, first=lambda _: 1.0),
}
"""Value of the axis ``dpo_loss`` -> the loss."""


def dpo_loss(
    policy: Tensor, ref: Tensor, lengths: Tensor, *, beta: float, kind: str = "sigmoid"
) -> tuple[Tensor, Tensor]:
    """The loss of that ``kind`` of `DPO_LOSSES`.

    Returns:
        The scalar loss and the share of pairs with a positive margin (a tie counts as wrong).
    """
    loss, ratios = DPO_LOSSES[kind], policy - ref
    if loss.averaged:
        ratios = ratios / lengths
    chosen, rejected = ratios.chunk(2)
    return loss.of(chosen, rejected, beta).mean(), (chosen > rejected).float().mean()
