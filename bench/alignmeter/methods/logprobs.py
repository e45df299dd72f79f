"""Log-probabilities of responses under a causal LM."""

__all__ = ["head_logprobs", "hidden_states", "response_logprobs"]

from typing import Any

import torch
from torch import nn

from alignmeter_kernels import token_logprob


def hidden_states(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """Last hidden states [rows, T, D] of ``ids`` [rows, T]: what the output head reads."""
    states: torch.Tensor = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    return states


def head_logprobs(
    model: Any, hidden: torch.Tensor, ids: torch.Tensor, prompt_len: int
) -> torch.Tensor:
    """Log-prob [rows, T-P] of each token of ``ids`` [rows, T] after the prompt.

    Only the T-P logits from the last prompt token on are computed.
    """
    head = model.get_output_embeddings()
    logits = head(hidden[:, prompt_len - 1 : -1].to(head.weight.dtype))
    return token_logprob(logits, ids[:, prompt_len:])


def response_logprobs(model: nn.Module, ids: torch.Tensor, prompt_len: int) -> torch.Tensor:
    """`head_logprobs` of the model's own hidden states."""
    return head_logprobs(model, hidden_states(model, ids), ids, prompt_len)
