"""How an operator's tensors are laid out before a path takes them."""

__all__ = ["dense", "wide"]

from typing import Any

import torch


def wide(tensor: torch.Tensor | None) -> torch.Tensor | None:
    """Contiguous fp32, as the CPU's versions compute; ``None`` stays."""
    return None if tensor is None else tensor.float().contiguous()


def dense(*tensors: torch.Tensor | None) -> list[Any]:
    """Contiguous, each in its own dtype, as Triton's versions take them; ``None`` stays."""
    return [None if tensor is None else tensor.contiguous() for tensor in tensors]
