"""The plain version: all logits at once."""

__all__ = ["linear_logprob_reference"]

import torch


def linear_logprob_reference(
    hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-prob of ``labels`` and entropy under ``softmax(hidden @ weight.T)``.

    Args:
        hidden: [T, H]. weight: [V, H], the output head. labels: [T] int64, each in [0, V).

    Returns:
        Log-probs [T] and entropies [T] in nats, in fp32 (fp64 for fp64 inputs). The entropies are
        figures to watch and carry no gradient.
    """
    logits = hidden @ weight.mT
    wide = logits if logits.dtype == torch.float64 else logits.float()
    logprobs = wide.log_softmax(-1)
    entropy = -(logprobs.exp() * logprobs).sum(-1)
    return logprobs.gather(-1, labels.unsqueeze(-1)).squeeze(-1), entropy.detach()
