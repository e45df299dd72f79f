"""LoRA: adapters on frozen weights in the base dtype."""

__all__ = ["LORA"]

from torch import nn

from alignmeter.architectures import Architecture
from alignmeter.cells.cell import Cell
from alignmeter.flops import Trained
from alignmeter.peft.adapters import adapter_settings, counted_adapters, inject_adapters
from alignmeter.peft.base import PeftMode
from alignmeter.peft.targets import targets_misfit


class _Lora(PeftMode):
    name = "lora"

    def misfit(self, cell: Cell) -> str | None:
        return targets_misfit(cell)

    def settings(self, cell: Cell) -> dict[str, float | int | str]:
        return adapter_settings(cell)

    def train(
        self, model: nn.Module, architecture: Architecture, cell: Cell, *, seed: int
    ) -> nn.Module:
        return inject_adapters(model, architecture, cell, seed=seed)

    def trained(self, architecture: Architecture, cell: Cell) -> Trained:
        return counted_adapters(architecture, cell)


LORA = _Lora()
