"""This project's own head: of the tokens of responses alone, fused with custom kernels."""

__all__ = ["OWN"]

from typing import Any

import torch
from torch import nn

from alignmeter.architectures.logits import final_logits, scaled_states
from alignmeter.batches.spans import Where, at_responses
from alignmeter.training.heads.base import LossHead, product_dtype
from alignmeter_kernels.linear_logprob import linear_logprob
from alignmeter_kernels.token_logprob.reference import token_logprob


class _Own(LossHead):
    name = "own"

    def logprobs(
        self, model: Any, hidden: torch.Tensor, ids: torch.Tensor, where: Where, *, kernels: str
    ) -> torch.Tensor:
        """Only those N logits are computed, from the last prompt token on; with ``kernels =
        custom`` a few at a time. Raises `ValueError` if the custom kernel does not know the model's
        output head.
        """
        head, labels = model.get_output_embeddings(), at_responses(ids, where)
        states = at_responses(hidden, where, shift=-1)
        if kernels != "custom":
            logits = final_logits(model, head(states.to(head.weight.dtype)))
            return token_logprob(logits, labels)
        if type(head) is not nn.Linear or head.bias is not None:
            raise ValueError(f"linear_logprob knows a plain linear head without bias, not {head}")
        states = scaled_states(model, states)
        dtype = product_dtype(head.weight)
        return linear_logprob(states.to(dtype), head.weight.to(dtype), labels)[0]


OWN = _Own()
