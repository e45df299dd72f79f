"""Positions that a model has to be told while it decodes."""

__all__ = ["decoding_positions"]

from typing import Any

import torch

_FROM_ZERO = ("bamba",)
"""Families that transformers 5.17 to 5.23 has count from 0 in every call, whatever their cache
holds: their rotary positions would all be the first. ``generate`` tells them, and so must we."""


def decoding_positions(model: Any, token: torch.Tensor, position: int) -> dict[str, torch.Tensor]:
    """What ``model`` is told beside ``token`` [R, 1], the ``position``-th of its row.

    Empty for families that count what their cache holds.
    """
    if model.config.model_type not in _FROM_ZERO:
        return {}
    return {"position_ids": token.new_full((1, 1), position)}
