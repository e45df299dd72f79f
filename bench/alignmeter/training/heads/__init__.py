"""Output heads: from hidden states to log-probs of tokens. One file each behind `base.LossHead`."""

__all__ = ["LossHead", "open_head"]

from alignmeter.registry import LOSS_HEADS, load
from alignmeter.training.heads.base import LossHead


def open_head(name: str) -> LossHead:
    """The head of that name. Raises `InputError` for an unknown one."""
    head: LossHead = load(LOSS_HEADS, name)
    return head
