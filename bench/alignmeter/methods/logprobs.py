"""Log-probabilities of responses under a causal LM."""

__all__ = ["response_logprobs"]

import torch
from torch import nn

from alignmeter_kernels import token_logprob


def response_logprobs(model: nn.Module, ids: torch.Tensor, prompt_len: int) -> torch.Tensor:
    """Log-prob [rows, T-P] of each token of ``ids`` [rows, T] after the prompt.

    Only the T-P+1 logits from the last prompt token on are computed.
    """
    keep = ids.shape[1] - prompt_len + 1
    logits = model(input_ids=ids, use_cache=False, logits_to_keep=keep).logits
    return token_logprob(logits[:, :-1], ids[:, prompt_len:])
