"""Number formats: which dtype the weights have and whether the forward runs under autocast."""

__all__ = ["BF16", "BF16_BASE", "BF16_MIXED", "FP32", "Precision", "precision_of"]

import contextlib
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from alignmeter.registry import PRECISIONS, load


@dataclass(frozen=True, kw_only=True, slots=True)
class Precision:
    """``base`` holds weights that the PEFT mode freezes or trains; ``adapters`` what it adds."""

    base: torch.dtype
    adapters: torch.dtype
    autocast: torch.dtype | None = None

    @property
    def compute(self) -> torch.dtype:
        """The dtype of the matrix products."""
        return self.autocast or self.base

    def region(self, device: torch.device) -> AbstractContextManager[object]:
        """The context a forward pass runs in."""
        if self.autocast is None:
            return contextlib.nullcontext()
        return torch.autocast(device.type, dtype=self.autocast)


FP32 = Precision(base=torch.float32, adapters=torch.float32)
BF16_MIXED = Precision(base=torch.float32, adapters=torch.float32, autocast=torch.bfloat16)
BF16_BASE = Precision(base=torch.bfloat16, adapters=torch.float32)
BF16 = Precision(base=torch.bfloat16, adapters=torch.bfloat16)


def precision_of(name: str) -> Precision:
    """The format of that name. Raises `InputError` listing the known ones."""
    found: Precision = load(PRECISIONS, name)
    return found
