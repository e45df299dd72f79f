"""What computes log-probs of tokens from what the output head of a model reads."""

__all__ = ["LossHead", "MeanHead", "product_dtype"]

from typing import Any, Protocol

import torch

from alignmeter.batches.spans import Where


class LossHead(Protocol):
    """One way from hidden states to log-probs.

    What is asked of it where torch is not loaded stands in its row of `registry.LOSS_HEADS`.
    """

    name: str

    def logprobs(
        self, model: Any, hidden: torch.Tensor, ids: torch.Tensor, where: Where, *, kernels: str
    ) -> torch.Tensor:
        """Log-prob [rows, N] of each token of the responses in ``ids`` [rows, L].

        ``where`` they lie: P tokens of prompt in each row, N the T-P others; or at places of their
        own, N the longest response. ``hidden``: the model's last states [rows, L, D].
        """
        ...


class MeanHead(Protocol):
    """One way from hidden states to their mean loss, of which nobody sees the log-probs."""

    name: str

    def mean_loss(
        self,
        model: Any,
        hidden: torch.Tensor,
        ids: torch.Tensor,
        where: Where,
        mask: torch.Tensor,
        *,
        kernels: str,
    ) -> torch.Tensor:
        """``-sum(mask * log p) / sum(mask)``, a scalar; ``mask`` [rows, N], the others as above."""
        ...


def product_dtype(weight: torch.Tensor) -> torch.dtype:
    """What a matrix product with ``weight`` is computed in here: autocast's choice, if it is on."""
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
