"""Optimizers: what steps the weights that train."""

__all__ = ["OPTIMIZERS", "open_optimizer"]

from collections.abc import Callable, Iterable

import torch
from torch import nn

from alignmeter.errors import InputError, known


def _adamw(parameters: list[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
    """Fused AdamW, on the CPU too (`docs/how-it-measures.md`)."""
    return torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.0, fused=True)


OPTIMIZERS: dict[str, Callable[[list[nn.Parameter], float], torch.optim.Optimizer]] = {
    "adamw": _adamw,
}


def open_optimizer(
    name: str, parameters: Iterable[nn.Parameter], *, learning_rate: float
) -> torch.optim.Optimizer:
    """The optimizer of that name on those of ``parameters`` that train, without weight decay.

    Raises `InputError` for an unknown name.
    """
    if name not in OPTIMIZERS:
        raise InputError(f"{name!r} is not an optimizer; {known(OPTIMIZERS)}")
    return OPTIMIZERS[name]([p for p in parameters if p.requires_grad], learning_rate)
