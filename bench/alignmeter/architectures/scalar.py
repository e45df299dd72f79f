"""A backbone with one score per token: reward and value models."""

__all__ = ["ScalarModel"]

from typing import Any

import torch
from torch import nn

from alignmeter.architectures.packing import Packed, last_hidden


class ScalarModel(nn.Module):
    """``score(backbone(ids))``: works for any causal LM of transformers, Mamba included.

    transformers has no sequence-classification class for Mamba, so the head is ours for all.
    """

    def __init__(self, causal_lm: Any, *, seed: int, dtype: torch.dtype) -> None:
        """Take the backbone out of ``causal_lm`` and put a bias-free linear head on it."""
        super().__init__()
        self.backbone = causal_lm.base_model
        width = causal_lm.config.hidden_size
        generator = torch.Generator().manual_seed(seed)
        self.score = nn.Linear(width, 1, bias=False, dtype=dtype)
        with torch.no_grad():
            weight = torch.randn(1, width, generator=generator) / width**0.5
            self.score.weight.copy_(weight.to(dtype))

    def forward(self, ids: torch.Tensor, packed: Packed | None = None) -> torch.Tensor:
        """Scores [rows, T] in fp32 of token ids [rows, T], to the backbone padded or ``packed``."""
        return self.score_of(last_hidden(self.backbone, ids, packed))

    def score_of(self, hidden: torch.Tensor) -> torch.Tensor:
        """Scores [rows, T] in fp32 of hidden states [rows, T, D]."""
        scores: torch.Tensor = self.score(hidden.to(self.score.weight.dtype))
        return scores.squeeze(-1).float()
