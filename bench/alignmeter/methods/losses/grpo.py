"""Group Relative Policy Optimization, https://arxiv.org/abs/2402.03300, and its variants.

Shapes: R rollouts of N tokens; log-probs and masks are [R, N], advantages [R].
"""

__all__ = ["GRPO_VARIANTS", "GrpoVariant", "grpo_loss", "k3"]

from dataclasses import dataclass
from typing import Literal

import torch

from alignmeter.methods.losses.group import Scale

Tensor = torch.Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class GrpoVariant:
    """One row of what is called GRPO.

    ``mean``: over tokens of the whole batch, over each sequence and then over those, or over
    ``R * N`` whatever is masked. ``ratio``: of each token, or one of the sequence, the geometric
    mean of its tokens'. ``low``, ``high``: how far the ratio may leave 1 before it is clipped.
    ``cap``: in place of the clip, a bound of the ratio, which then gets no gradient. ``scale``: of
    `group.group_advantages`. ``source``: paper and equations.
    """

    mean: Literal["token", "sequence", "constant"]
    source: str
    ratio: Literal["token", "sequence"] = "token"
    low: float = 0.2
    high: float = 0.2
    cap: float | None = None
    scale: Scale = "group"


GRPO_VARIANTS: dict[str, GrpoVariant] = {
    "grpo": GrpoVariant(
        mean="sequence", source="https://arxiv.org/abs/2402.03300, equation 3"
    ),
    "dapo": GrpoVariant(
        mean="token", high=0.28, source="https://arxiv.org/abs/2503.14476, equation 8"
    ),
    "dr-grpo": GrpoVariant(
        mean="constant", scale="none", source="https://arxiv.org/abs/2503.20783, section 3.2"
    ),
    "gspo": GrpoVariant(
        mean="sequence",
        ratio="sequence",
        low=3e-4,
        high=4e-4,
        source="https://arxiv.org/abs/2507.18071, equations 5 and 7",
    ),
    "cispo": GrpoVariant(
        mean="token",
        cap=5.0,
        source="https://arxiv.org/abs/2506.13585, equations 4 and 5; the bound of 5, and none from "
        "below: https://arxiv.org/abs/2510.13786, as TRL 1.16 has it",
    ),
}  # fmt: skip
"""Value of the axis ``grpo_variant`` -> what it is."""


def k3(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """``exp(d) - d - 1`` of ``d = ref - policy``: the KL divergence as equation 4 of the GRPO paper
    estimates it, never negative.
    """
    apart = ref_logprobs - logprobs
    return apart.exp() - apart - 1


def grpo_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    variant: GrpoVariant,
    ref_logprobs: Tensor | None = None,
    kl_coef: float = 0.0,
) -> Tensor:
    """``-min(r A, clip(r) A) + kl_coef * r * k3`` over the tokens, averaged as ``variant`` says.

    ``r`` is ``exp(logprobs - old_logprobs)``. The KL term is weighted with it, as in TRL 1.16 and
    DeepSeek-V3.2 (https://arxiv.org/abs/2512.02556, section 3.1): the estimate is one of samples of
    the old policy. On the policy itself its value is that of the paper.

    Args:
        old_logprobs: of the policy that sampled, without gradient.
        ref_logprobs: of the ref_model, without gradient; only with a KL term.
    """
    advantage = advantages.unsqueeze(1)
    apart = logprobs - old_logprobs
    if variant.ratio == "sequence":
        apart = ((apart * mask).sum(1) / mask.sum(1)).unsqueeze(1)
    ratio = apart.exp()
    if variant.cap is not None:
        loss = -ratio.clamp(max=variant.cap).detach() * advantage * logprobs
    else:
        clipped = ratio.clamp(1 - variant.low, 1 + variant.high)
        loss = -torch.min(ratio * advantage, clipped * advantage)
    if ref_logprobs is not None:
        loss = loss + kl_coef * ratio * k3(logprobs, ref_logprobs)
    loss = loss * mask
    if variant.mean == "sequence":
        return (loss.sum(1) / mask.sum(1)).mean()
    return loss.sum() / (mask.sum() if variant.mean == "token" else mask.numel())
