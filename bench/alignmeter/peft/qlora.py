"""QLoRA (https://arxiv.org/abs/2305.14314): adapters on frozen NF4 weights."""

__all__ = ["QLORA"]

from importlib.util import find_spec

from torch import nn

from alignmeter.architectures import Architecture
from alignmeter.architectures.precision import precision_of
from alignmeter.cells.cell import Cell
from alignmeter.flops import Trained
from alignmeter.peft.adapters import adapter_settings, counted_adapters, inject_adapters
from alignmeter.peft.base import PeftMode
from alignmeter.peft.nf4 import copied, nf4_settings, quantise


class _Qlora(PeftMode):
    name = "qlora"
    packs = True

    def missing(self) -> str | None:
        if find_spec("bitsandbytes") is None:
            return "bitsandbytes is not installed; pip install 'alignmeter[qlora]'"
        return None

    def settings(self, cell: Cell) -> dict[str, float | int | str]:
        return {**adapter_settings(cell), **nf4_settings(cell)}

    def store(self, model: nn.Module, architecture: Architecture, cell: Cell) -> nn.Module:
        return quantise(
            model,
            skip=architecture.nf4_skip,
            compute=precision_of(cell.precision).compute,
            kernels=cell.kernels,
        )

    def copied(self, model: nn.Module) -> nn.Module:
        return copied(model)

    def train(
        self, model: nn.Module, architecture: Architecture, cell: Cell, *, seed: int
    ) -> nn.Module:
        return inject_adapters(model, architecture, cell, seed=seed)

    def trained(self, architecture: Architecture, cell: Cell) -> Trained:
        return counted_adapters(architecture, cell)


QLORA = _Qlora()
