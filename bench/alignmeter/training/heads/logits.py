"""Logits of every token, kept at once, as a causal LM of transformers makes and keeps them."""

__all__ = ["LOGITS"]

from typing import Any

import torch
import torch.nn.functional as F

from alignmeter.architectures.logits import final_logits
from alignmeter.batches.spans import Where, at_responses
from alignmeter.training.heads.base import LossHead


class _Logits(LossHead):
    """``ForCausalLMLoss`` of transformers 5.23 (``loss/loss_utils.py``), token by token: a copy of
    all logits in fp32, and the cross entropy of all rows as one, prompts among them.
    """

    name = "logits"

    def logprobs(
        self, model: Any, hidden: torch.Tensor, ids: torch.Tensor, where: Where, *, kernels: str
    ) -> torch.Tensor:
        """Of the last token's logits nothing is asked: its label is the first id there is."""
        head = model.get_output_embeddings()
        logits = final_logits(model, head(hidden.to(head.weight.dtype)))
        wide = logits.float()
        labels = F.pad(ids, (0, 1))[..., 1:].contiguous()
        losses = F.cross_entropy(wide.view(-1, wide.shape[-1]), labels.view(-1), reduction="none")
        return at_responses(-losses.view(ids.shape), where, shift=-1)


LOGITS = _Logits()
