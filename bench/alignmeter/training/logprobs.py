"""Log-probabilities of responses under a causal LM."""

__all__ = ["head_logprobs", "hidden_states", "response_logprobs", "scored"]

from typing import Any

import torch
from torch import nn

from alignmeter.architectures.packing import last_hidden
from alignmeter.batches.spans import Where, packed_of
from alignmeter.parallel import within
from alignmeter.training.heads import open_head


def hidden_states(model: Any, ids: torch.Tensor, where: Where = 0) -> torch.Tensor:
    """Last hidden states [rows, L, D] of ``ids`` [rows, L]: what the output head reads.

    ``where``: of the rows' lengths, by which they are packed where they are. Of a sharded model it
    is called `within` it, and so is `head_logprobs`.
    """
    return last_hidden(model.base_model, ids, packed_of(where))


def head_logprobs(
    model: Any,
    hidden: torch.Tensor,
    ids: torch.Tensor,
    where: Where,
    *,
    kernels: str,
    head: str = "own",
) -> torch.Tensor:
    """Log-prob [rows, N] of each token of the responses in ``ids`` [rows, L], by the head of that
    name.

    ``where`` they lie: P tokens of prompt in each row, N the T-P others; or at places of their own,
    N the longest response. Raises `ValueError` if the custom kernel does not know the model's
    output head.
    """
    return open_head(head).logprobs(model, hidden, ids, where, kernels=kernels)


def response_logprobs(
    model: nn.Module,
    ids: torch.Tensor,
    where: Where,
    *,
    kernels: str = "custom",
    head: str = "own",
) -> torch.Tensor:
    """`head_logprobs` of the model's own hidden states."""

    def both() -> torch.Tensor:
        hidden = hidden_states(model, ids, where)
        return head_logprobs(model, hidden, ids, where, kernels=kernels, head=head)

    return within(model, both)


def scored(scalar: nn.Module, ids: torch.Tensor, where: Where) -> torch.Tensor:
    """Scores [rows, L] of a scalar model, which is given the rows as a causal LM is."""
    packed = packed_of(where)
    given = (ids,) if packed is None else (ids, packed)
    scores: torch.Tensor = within(scalar, scalar.forward, *given)
    return scores
