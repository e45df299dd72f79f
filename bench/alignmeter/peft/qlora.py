"""QLoRA (https://arxiv.org/abs/2305.14314): adapters on frozen NF4 weights."""

__all__ = ["QLORA"]

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

import torch
from torch import nn
from torch.torch_version import TorchVersion

from alignmeter.accelerators import open_accelerator
from alignmeter.architectures import Architecture, architecture_of
from alignmeter.architectures.checkpoint import RANDOM, find_checkpoint
from alignmeter.architectures.precision import precision_of
from alignmeter.cells.cell import Cell
from alignmeter.flops import Trained
from alignmeter.peft.adapters import adapter_settings, counted_adapters, inject_adapters
from alignmeter.peft.base import PeftMode
from alignmeter.peft.nf4 import (
    BLOCKSIZE,
    copied,
    nf4_settings,
    packed_bytes,
    quantise,
    settle,
    widen,
)
from alignmeter.peft.targets import targets_misfit
from alignmeter.records.record import VRAM

_LEAST = "0.49.2"
"""The first bitsandbytes whose NF4 blocks hold 64 weights on CDNA devices too (pull request 1856 of
bitsandbytes; its library for ROCm has kQuantizeBlockwise64, that of 0.49.1 has not). Asked for on
every device, so that a cell is the same cell everywhere.
"""


class _Qlora(PeftMode):
    name = "qlora"
    packs = True

    def missing(self) -> str | None:
        try:
            found = version("bitsandbytes")
        except PackageNotFoundError:
            return "bitsandbytes is not installed; pip install 'alignmeter[qlora]'"
        if TorchVersion(found) < _LEAST:
            return (
                f"bitsandbytes {found} is installed, and {_LEAST} or later is wanted: earlier ones "
                f"have no NF4 blocks of {BLOCKSIZE} on CDNA devices; pip install -U "
                "'alignmeter[qlora]'"
            )
        return None

    def misfit(self, cell: Cell) -> str | None:
        """Its targets; and its rows, for bitsandbytes 0.50 on a CPU with AVX-512 begins each row
        with a new block when it decodes NF4, while its quantiser packs rows without gaps: rows that
        are no whole blocks come out as other weights. ``tests/bench/peft/test_nf4_rows.py`` says
        when a release has mended that.
        """
        unfit = targets_misfit(cell) or _wide_already(cell)
        on_gpu = open_accelerator(cell.accelerator).memory_kind == VRAM
        if unfit is not None or cell.model == RANDOM or on_gpu:
            return unfit
        skip = architecture_of(cell).nf4_skip
        for name, (_, columns) in find_checkpoint(cell.model).matrices.items():
            module, _, kind = name.rpartition(".")
            layer = module.rpartition(".")[2]
            linear = kind == "weight" and layer not in skip and "embed" not in layer
            if linear and columns % BLOCKSIZE:
                return (
                    "bitsandbytes decodes NF4 rows wrongly on CPUs unless they are whole blocks of "
                    f"{BLOCKSIZE} weights; {name} of {cell.model} has rows of {columns}; use lora"
                )
        return None

    def settings(self, cell: Cell) -> dict[str, float | int | str]:
        return {**adapter_settings(cell), **nf4_settings(cell)}

    def store(self, model: nn.Module, architecture: Architecture, cell: Cell) -> nn.Module:
        packed = quantise(
            model,
            skip=architecture.nf4_skip,
            compute=precision_of(cell.precision).compute,
            kernels=cell.kernels,
        )
        if cell.embeddings == "float32":
            widen(packed)
        return packed

    def settle(self, modules: Iterable[nn.Module]) -> None:
        settle(modules)

    def packed_bytes(self, values: int) -> int:
        return packed_bytes(values)

    def copied(self, model: nn.Module) -> nn.Module:
        return copied(model)

    def train(
        self, model: nn.Module, architecture: Architecture, cell: Cell, *, seed: int
    ) -> nn.Module:
        return inject_adapters(model, architecture, cell, seed=seed)

    def trained(self, architecture: Architecture, cell: Cell) -> Trained:
        return counted_adapters(architecture, cell)


def _wide_already(cell: Cell) -> str | None:
    if cell.embeddings == "float32" and precision_of(cell.precision).base == torch.float32:
        return f"what is not packed is fp32 with precision {cell.precision} anyway; use base"
    return None


QLORA = _Qlora()
