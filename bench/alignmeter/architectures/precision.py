"""Number formats: dtypes of weights and products, and how far their rounding reaches."""

__all__ = [
    "BF16",
    "BF16_BASE",
    "BF16_BASE_MIXED",
    "BF16_MIXED",
    "FP32",
    "REFERENCE",
    "Precision",
    "precision_of",
    "without_frozen_base",
]

import contextlib
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from alignmeter.registry import PRECISIONS, load


@dataclass(frozen=True, kw_only=True, slots=True)
class Precision:
    """``base`` holds weights that the PEFT mode freezes or trains; ``adapters`` what it adds.

    ``band``: how far rounding can move a signal, as a share of its size. ``first_loss_band``: how
    far it can move a first loss that is known. ``frozen_base``: it is for PEFT modes that freeze
    the base.
    """

    base: torch.dtype
    adapters: torch.dtype
    autocast: torch.dtype | None = None
    band: float
    first_loss_band: float
    frozen_base: bool = False

    @property
    def compute(self) -> torch.dtype:
        """The dtype of the matrix products."""
        return self.autocast or self.base

    def region(self, device: torch.device) -> AbstractContextManager[object]:
        """The context a forward pass runs in."""
        if self.autocast is None:
            return contextlib.nullcontext()
        return torch.autocast(device.type, dtype=self.autocast)


_FP32_BAND, _BF16_BAND = 2e-4, 0.04
"""A path of n roundings with unit roundoff u moves a figure by about u sqrt(n)
(`docs/how-it-measures.md`). 48 layers with eight rounded operators each give 20 u. bf16 rounds
results only (u = 2**-9): 0.04. fp32 (u = 2**-24) also rounds within dot products of up to 14336
terms, another sqrt(14336) = 120: 1.4e-4.
"""
_FP32_FIRST_LOSS, _BF16_FIRST_LOSS = 1e-5, 0.05
"""fp32: policy and ref_model run the same operators; bf16 rounds the summed log-probs."""

FP32 = Precision(
    base=torch.float32,
    adapters=torch.float32,
    band=_FP32_BAND,
    first_loss_band=_FP32_FIRST_LOSS,
)
BF16_MIXED = Precision(
    base=torch.float32,
    adapters=torch.float32,
    autocast=torch.bfloat16,
    band=_BF16_BAND,
    first_loss_band=_BF16_FIRST_LOSS,
)
BF16_BASE = Precision(
    base=torch.bfloat16,
    adapters=torch.float32,
    band=_BF16_BAND,
    first_loss_band=_BF16_FIRST_LOSS,
    frozen_base=True,
)
BF16_BASE_MIXED = Precision(
    base=torch.bfloat16,
    adapters=torch.float32,
    autocast=torch.bfloat16,
    band=_BF16_BAND,
    first_loss_band=_BF16_FIRST_LOSS,
    frozen_base=True,
)
"""What peft's adapters on a model that was loaded in bf16 are under a Trainer with ``bf16=True``:
their own fp32, and their products autocast (transformers 5.23 ``training_args.py``, peft 0.21
``autocast_adapter_dtype``).
"""
BF16 = Precision(
    base=torch.bfloat16,
    adapters=torch.bfloat16,
    band=_BF16_BAND,
    first_loss_band=_BF16_FIRST_LOSS,
)
REFERENCE = "fp32"
"""The format that references are computed in."""


def precision_of(name: str) -> Precision:
    """The format of that name. Raises `InputError` listing the known ones."""
    found: Precision = load(PRECISIONS, name)
    return found


def without_frozen_base(name: str, peft: str) -> str | None:
    """Why a PEFT mode that freezes no base cannot have the format ``name``; ``None`` if it can."""
    asked = precision_of(name)
    if not asked.frozen_base:
        return None
    others = {other: precision_of(other) for other in PRECISIONS}
    instead = [
        other
        for other, found in others.items()
        if found.compute == asked.compute and not found.frozen_base
    ]
    return f"{peft} has no frozen base to keep in {name}; use {' or '.join(instead)}"
