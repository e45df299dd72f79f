"""What a group of answers to one prompt tells of each: advantages without a value model.

Shapes: R rows, groups of G neighbours; rewards and advantages are [R].
"""

__all__ = ["SCALES", "group_advantages", "leave_one_out"]

from typing import Literal

import torch

Tensor = torch.Tensor
Scale = Literal["group", "none"]
SCALES: tuple[Scale, ...] = ("group", "none")
_LEAST_STD = 1e-4
"""Added to a standard deviation, as in TRL: equal rewards give advantages of 0."""


def group_advantages(rewards: Tensor, group: int, *, scale: Scale = "group") -> Tensor:
    """``(r - mean) / std`` in each group: GRPO, https://arxiv.org/abs/2402.03300, section 4.1.2.

    The standard deviation is the unbiased one, as in TRL. With ``scale = none`` it is left out:
    Dr. GRPO, https://arxiv.org/abs/2503.20783, section 3.2.
    """
    found = rewards.view(-1, group)
    centred = found - found.mean(1, keepdim=True)
    if scale == "group":
        centred = centred / (found.std(1, keepdim=True) + _LEAST_STD)
    return centred.flatten()


def leave_one_out(rewards: Tensor, group: int) -> Tensor:
    """Each reward less the mean of the others in its group: RLOO,
    https://arxiv.org/abs/2402.14740, as TRL 1.16 has it.
    """
    found = rewards.view(-1, group)
    others = (found.sum(1, keepdim=True) - found) / (group - 1)
    return (found - others).flatten()
