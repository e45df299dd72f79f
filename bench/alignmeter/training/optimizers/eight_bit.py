"""AdamW with a byte for each value of its state (https://arxiv.org/abs/2110.02861): bitsandbytes'.

Without data it is emulated, since bitsandbytes reads values while it makes its tables: a byte for
each value of both moments and a float for each block of 256, two tables that all weights share; and
fp32 moments of weights of fewer than 4096 values (bitsandbytes 0.50, ``optim/optimizer.py``).
"""

__all__ = ["ADAMW_8BIT", "PAGED_ADAMW_8BIT"]

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import nn
from torch.torch_version import TorchVersion

from alignmeter.accelerators import open_accelerator
from alignmeter.architectures.tracing import is_tracing
from alignmeter.cells.cell import Cell
from alignmeter.records.record import VRAM
from alignmeter.streams import quiet
from alignmeter.training.optimizers.base import OptimizerKind, Stepped

_LEAST, _LEAST_ON_CPU = "0.49.2", "0.50"
"""The first is what the extra asks for; the second steps weights on a CPU (pull request 1901)."""
_BLOCK, _TABLE = 256, 256
_LEAST_VALUES = 4096
_LEAST_PAGED = 100_000
"""Values of a weight from which its moments are paged."""


class _EightBit(OptimizerKind):
    """``paged``: moments of large weights are managed memory, which a device keeps only as long as
    it has room: they are in no allocator's figures.
    """

    def __init__(self, name: str, *, paged: bool) -> None:
        self.name, self._paged = name, paged

    def missing(self, cell: Cell) -> str | None:
        least = _LEAST if _on_device(cell) else _LEAST_ON_CPU
        try:
            found = version("bitsandbytes")
        except PackageNotFoundError:
            return "bitsandbytes is not installed; pip install 'alignmeter[qlora]'"
        if TorchVersion(found) >= least:
            return None
        return (
            f"bitsandbytes {found} has no {self.name} for {cell.accelerator}; {least} or later "
            "has: pip install -U 'alignmeter[qlora]'"
        )

    def make(self, stepped: Stepped, *, learning_rate: float, cell: Cell) -> torch.optim.Optimizer:
        on_device = _on_device(cell)
        paged = self._paged and on_device
        if is_tracing():
            return _WithoutData(stepped.parameters, paged=paged, works_in_fp32=not on_device)
        with quiet():
            optim: Any = import_module("bitsandbytes.optim")
        kind = optim.PagedAdamW8bit if paged else optim.AdamW8bit
        made: torch.optim.Optimizer = kind(stepped.parameters, lr=learning_rate, weight_decay=0.0)
        return made

    def state_bytes(self, values: int, itemsize: int, inner: bool) -> int:
        """Two bytes a value and two floats a block; of small matrices two floats a value."""
        if values < _LEAST_VALUES:
            return 2 * 4 * values
        return 2 * values + 2 * 4 * -(-values // _BLOCK)


def _on_device(cell: Cell) -> bool:
    """Whether the cell's accelerator has memory of its own."""
    return open_accelerator(cell.accelerator).memory_kind == VRAM


class _WithoutData(torch.optim.Optimizer):
    """State and temporaries of the same sizes.

    ``works_in_fp32``: bitsandbytes' step on a CPU unpacks both moments and holds gradient, weight
    and quotients beside them (``backends/cpu/ops.py``); its kernels for GPUs hold nothing.
    """

    def __init__(self, parameters: list[nn.Parameter], *, paged: bool, works_in_fp32: bool) -> None:
        super().__init__(parameters, {})
        self._paged, self._works_in_fp32 = paged, works_in_fp32
        self._tables = {name: torch.empty(_TABLE) for name in ("qmap1", "qmap2")}

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Make the state, the first time; after that only what a step holds."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if not self.state[parameter]:
                    self.state[parameter] = self._state(parameter)
                if self._works_in_fp32:
                    _work(parameter)

    def _state(self, parameter: nn.Parameter) -> dict[str, torch.Tensor]:
        values = parameter.numel()
        packed = values >= _LEAST_VALUES
        dtype = torch.uint8 if packed else torch.float32
        paged = self._paged and values >= _LEAST_PAGED
        state = {} if paged else {n: torch.empty(values, dtype=dtype) for n in ("state1", "state2")}
        if packed:
            blocks = -(-values // _BLOCK)
            state |= {name: torch.empty(blocks) for name in ("absmax1", "absmax2")} | self._tables
        return state


def _work(parameter: nn.Parameter) -> None:
    """Both moments where they are packed, the gradient, two quotients; the weight if it is not fp32
    already.
    """
    count = 5 if parameter.numel() >= _LEAST_VALUES else 3
    torch.empty(count + (parameter.dtype != torch.float32), parameter.numel())


ADAMW_8BIT = _EightBit("adamw-8bit", paged=False)
PAGED_ADAMW_8BIT = _EightBit("paged-adamw-8bit", paged=True)
