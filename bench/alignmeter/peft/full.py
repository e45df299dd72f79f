"""Full fine-tuning: every weight trains."""

__all__ = ["FULL"]

from torch import nn

from alignmeter.architectures import Architecture
from alignmeter.cells.cell import Cell
from alignmeter.flops import Trained
from alignmeter.peft.base import PeftMode


class _Full(PeftMode):
    name = "full"

    def train(
        self, model: nn.Module, architecture: Architecture, cell: Cell, *, seed: int
    ) -> nn.Module:
        return model.requires_grad_(True)

    def trained(self, architecture: Architecture, cell: Cell) -> Trained:
        return Trained()


FULL = _Full()
