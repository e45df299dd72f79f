"""Full fine-tuning: every weight trains."""

__all__ = ["FULL"]

from torch import nn

from alignmeter.architectures import Architecture
from alignmeter.cells.cell import Cell


class _Full:
    name = "full"
    adapters = False
    axes = ()
    default_ref = "resident"

    def missing(self) -> str | None:
        return None

    def settings(self, cell: Cell) -> dict[str, float | int | str]:
        return {}

    def store(self, model: nn.Module, architecture: Architecture, cell: Cell) -> nn.Module:
        return model

    def train(
        self,
        model: nn.Module,
        architecture: Architecture,
        cell: Cell,
        *,
        seed: int,
    ) -> nn.Module:
        return model.requires_grad_(True)


FULL = _Full()
