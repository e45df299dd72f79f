"""Output heads: from hidden states to log-probs of tokens, or to their mean. One file each."""

__all__ = ["LossHead", "MeanHead", "mean_head", "open_head"]

from alignmeter.registry import LOSS_HEADS, load, row_of
from alignmeter.training.heads.base import LossHead, MeanHead


def open_head(name: str) -> LossHead:
    """The head of that name, which gives log-probs. Raises `InputError` for an unknown one."""
    head: LossHead = load(LOSS_HEADS, name)
    return head


def mean_head(name: str) -> MeanHead | None:
    """The head of that name if it gives a mean loss alone. Raises `InputError` as `open_head`."""
    if not row_of(LOSS_HEADS, name).means:
        return None
    head: MeanHead = load(LOSS_HEADS, name)
    return head
