"""Benchmark inputs as data: one table of shapes for timing, checking and compiling alike."""

__all__ = ["Case", "TensorSpec"]

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

Tensor = torch.Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorSpec:
    """One input. ``scale`` and ``shift`` apply to ``normal`` ones.

    ``decay``: -1 to -N along the last dimension, as Mamba initialises A. ``labels``: int64 below
    ``high``. ``bytes``: uint8. ``wide``: fp32 whatever the case's dtype is.
    """

    shape: tuple[int, ...]
    kind: Literal["normal", "decay", "labels", "bytes"] = "normal"
    scale: float = 1.0
    shift: float = 0.0
    high: int = 0
    wide: bool = False
    frozen: bool = False

    def make(self, draw: torch.Generator | None, device: str, dtype: torch.dtype) -> Tensor:
        """The tensor: drawn on the CPU, so that a case is the same everywhere; empty on meta."""
        if self.kind == "labels":
            return self._integers(draw, device, self.high, torch.int64)
        if self.kind == "bytes":
            return self._integers(draw, device, 256, torch.uint8)
        dtype = torch.float32 if self.wide else dtype
        if device == "meta":
            return torch.empty(self.shape, device="meta", dtype=dtype)
        if self.kind == "decay":
            made = -torch.arange(1.0, self.shape[-1] + 1).expand(self.shape)
        else:
            made = torch.randn(self.shape, generator=draw) * self.scale + self.shift
        return made.to(device=device, dtype=dtype, copy=True)

    def _integers(
        self, draw: torch.Generator | None, device: str, high: int, dtype: torch.dtype
    ) -> Tensor:
        if device == "meta":
            return torch.empty(self.shape, device="meta", dtype=dtype)
        return torch.randint(high, self.shape, generator=draw, dtype=dtype).to(device)


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One set of inputs, by argument name, and the options of the call.

    ``chips``: a shape that `alignmeter kernels` compiles for every chip.
    """

    name: str
    tensors: Mapping[str, TensorSpec]
    options: Mapping[str, Any] = field(default_factory=dict)
    chips: bool = False

    def make(self, device: str, dtype: torch.dtype, *, seed: int = 0) -> dict[str, Tensor]:
        """The inputs; those that are floats and not frozen want a gradient."""
        draw = None if device == "meta" else torch.Generator().manual_seed(seed)
        made = {name: spec.make(draw, device, dtype) for name, spec in self.tensors.items()}
        for name, tensor in made.items():
            if tensor.is_floating_point() and not self.tensors[name].frozen:
                tensor.requires_grad_()
        return made
