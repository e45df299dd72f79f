"""Log-probabilities of responses under a causal LM."""

__all__ = ["head_logprobs", "hidden_states", "response_logprobs"]

from typing import Any

import torch
from torch import nn

from alignmeter_kernels import linear_logprob, token_logprob


def hidden_states(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """Last hidden states [rows, T, D] of ``ids`` [rows, T]: what the output head reads."""
    states: torch.Tensor = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    return states


def head_logprobs(
    model: Any, hidden: torch.Tensor, ids: torch.Tensor, prompt_len: int, *, kernels: str
) -> torch.Tensor:
    """Log-prob [rows, T-P] of each token of ``ids`` [rows, T] after the prompt.

    Only the T-P logits from the last prompt token on are computed; with ``kernels = custom`` a few
    at a time. Raises `ValueError` if the custom kernel does not know the model's output head.
    """
    head, labels = model.get_output_embeddings(), ids[:, prompt_len:]
    states = hidden[:, prompt_len - 1 : -1]
    if kernels != "custom":
        return token_logprob(head(states.to(head.weight.dtype)), labels)
    if type(head) is not nn.Linear or head.bias is not None:
        raise ValueError(f"linear_logprob knows a plain linear head without bias, not {head}")
    dtype = _product_dtype(head.weight)
    return linear_logprob(states.to(dtype), head.weight.to(dtype), labels)[0]


def _product_dtype(weight: torch.Tensor) -> torch.dtype:
    """What a matrix product with ``weight`` is computed in here: autocast's choice, if it is on."""
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


def response_logprobs(
    model: nn.Module, ids: torch.Tensor, prompt_len: int, *, kernels: str = "custom"
) -> torch.Tensor:
    """`head_logprobs` of the model's own hidden states."""
    return head_logprobs(model, hidden_states(model, ids), ids, prompt_len, kernels=kernels)
