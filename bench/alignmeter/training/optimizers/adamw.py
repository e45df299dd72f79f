"""AdamW (https://arxiv.org/abs/1711.05101) as torch has it, in each of its implementations."""

__all__ = ["ADAMW", "adamw"]

from typing import Any

import torch
from torch import nn

from alignmeter.cells.cell import Cell
from alignmeter.training.optimizers.base import OptimizerKind, Stepped

_HOW: dict[str, dict[str, bool]] = {
    "fused": {"fused": True},
    "foreach": {"foreach": True},
    "single": {"foreach": False},
}
"""Value of the axis ``optimizer_impl`` -> arguments. With none of them torch takes foreach on a
GPU and single on a CPU.
"""


def adamw(
    parameters: list[nn.Parameter], learning_rate: float, how: str = "fused"
) -> torch.optim.Optimizer:
    """AdamW without weight decay; fused on the CPU too (`docs/how-it-measures.md`)."""
    more: dict[str, Any] = _HOW[how]
    return torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.0, **more)


class _AdamW(OptimizerKind):
    name = "adamw"
    shards = True

    def make(self, stepped: Stepped, *, learning_rate: float, cell: Cell) -> torch.optim.Optimizer:
        return adamw(stepped.parameters, learning_rate, cell.optimizer_impl)

    def state_bytes(self, values: int, itemsize: int, inner: bool) -> int:
        """Both moments, in the weight's dtype."""
        return 2 * values * itemsize


ADAMW = _AdamW()
