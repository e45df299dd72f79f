"""LoRA: adapters on frozen weights in the base dtype."""

__all__ = ["LORA"]

from torch import nn

from alignmeter.architectures import Architecture
from alignmeter.cells.cell import Cell
from alignmeter.peft.adapters import adapter_settings, inject_adapters


class _Lora:
    name = "lora"
    adapters = True
    axes = ("lora_rank",)
    default_ref = "adapter-off"

    def missing(self) -> str | None:
        return None

    def settings(self, cell: Cell) -> dict[str, float | int | str]:
        return adapter_settings(cell)

    def store(self, model: nn.Module, architecture: Architecture, cell: Cell) -> nn.Module:
        return model

    def train(
        self, model: nn.Module, architecture: Architecture, cell: Cell, *, seed: int
    ) -> nn.Module:
        return inject_adapters(model, architecture, cell, seed=seed)


LORA = _Lora()
