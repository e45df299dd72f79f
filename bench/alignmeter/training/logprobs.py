"""Log-probabilities of responses under a causal LM."""

__all__ = ["head_logprobs", "hidden_states", "response_logprobs", "scored"]

from typing import Any

import torch
from torch import nn

from alignmeter.architectures.logits import final_logits, scaled_states
from alignmeter.architectures.packing import last_hidden
from alignmeter.batches.spans import Where, at_responses, packed_of
from alignmeter_kernels import linear_logprob, token_logprob


def hidden_states(model: Any, ids: torch.Tensor, where: Where = 0) -> torch.Tensor:
    """Last hidden states [rows, L, D] of ``ids`` [rows, L]: what the output head reads.

    ``where``: of the rows' lengths, by which they are packed where they are.
    """
    return last_hidden(model.base_model, ids, packed_of(where))


def head_logprobs(
    model: Any, hidden: torch.Tensor, ids: torch.Tensor, where: Where, *, kernels: str
) -> torch.Tensor:
    """Log-prob [rows, N] of each token of the responses in ``ids`` [rows, L].

    ``where`` they lie: P tokens of prompt in each row, N the T-P others; or at places of their own,
    N the longest response. Only those N logits are computed, from the last prompt token on; with
    ``kernels = custom`` a few at a time. Raises `ValueError` if the custom kernel does not know the
    model's output head.
    """
    head, labels = model.get_output_embeddings(), at_responses(ids, where)
    states = at_responses(hidden, where, shift=-1)
    if kernels != "custom":
        return token_logprob(final_logits(model, head(states.to(head.weight.dtype))), labels)
    if type(head) is not nn.Linear or head.bias is not None:
        raise ValueError(f"linear_logprob knows a plain linear head without bias, not {head}")
    states = scaled_states(model, states)
    dtype = _product_dtype(head.weight)
    return linear_logprob(states.to(dtype), head.weight.to(dtype), labels)[0]


def _product_dtype(weight: torch.Tensor) -> torch.dtype:
    """What a matrix product with ``weight`` is computed in here: autocast's choice, if it is on."""
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


def response_logprobs(
    model: nn.Module, ids: torch.Tensor, where: Where, *, kernels: str = "custom"
) -> torch.Tensor:
    """`head_logprobs` of the model's own hidden states."""
    return head_logprobs(model, hidden_states(model, ids, where), ids, where, kernels=kernels)


def scored(scalar: nn.Module, ids: torch.Tensor, where: Where) -> torch.Tensor:
    """Scores [rows, L] of a scalar model, which is given the rows as a causal LM is."""
    packed = packed_of(where)
    scores: torch.Tensor = scalar(ids) if packed is None else scalar(ids, packed)
    return scores
