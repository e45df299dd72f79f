"""Muon (https://kellerjordan.github.io/posts/muon/) on inner matrices, AdamW on all else."""

__all__ = ["MUON"]

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.torch_version import TorchVersion

from alignmeter.cells.cell import Cell
from alignmeter.training.optimizers.adamw import adamw
from alignmeter.training.optimizers.base import OptimizerKind, Stepped

_LEAST = "2.9"
"""The first torch with Muon."""


class _Together(torch.optim.Optimizer):
    """Several optimizers as one: their groups, and their states in one place."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        groups: list[dict[str, Any]] = [{**g} for part in parts for g in part.param_groups]
        super().__init__(groups, {})
        self._parts = parts
        for part in parts:
            part.state = self.state

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """That of each in turn."""
        loss = None if closure is None else closure()
        for part in self._parts:
            part.step()
        return loss


class _Muon(OptimizerKind):
    """torch's, its updates scaled to the size of AdamW's, so that one learning rate does for both
    (https://arxiv.org/abs/2502.16982, section 2.2).
    """

    name = "muon"

    def missing(self, cell: Cell) -> str | None:
        if TorchVersion(torch.__version__) < _LEAST:
            return f"torch {torch.__version__} has no Muon; {_LEAST} or later has"
        return None

    def make(self, stepped: Stepped, *, learning_rate: float, cell: Cell) -> torch.optim.Optimizer:
        inner = {id(p) for p in stepped.inner}
        rest = [p for p in stepped.parameters if id(p) not in inner]
        parts = [adamw(rest, learning_rate)] if rest else []
        if stepped.inner:
            muon: Any = torch.optim.Muon
            parts.append(
                muon(
                    stepped.inner,
                    lr=learning_rate,
                    weight_decay=0.0,
                    adjust_lr_fn="match_rms_adamw",
                )
            )
        return _Together(parts)

    def state_bytes(self, values: int, itemsize: int, inner: bool) -> int:
        """One moment of inner matrices, AdamW's two of all else."""
        return (1 if inner else 2) * values * itemsize


MUON = _Muon()
