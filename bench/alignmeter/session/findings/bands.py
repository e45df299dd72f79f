"""How far rounding may take a cell's signals from its reference's."""

__all__ = ["compare"]

import math
from collections.abc import Sequence

import torch

from alignmeter.architectures.precision import precision_of
from alignmeter.cells.cell import Cell
from alignmeter.records.record import Signal
from alignmeter.records.reference import Reference, Signals
from alignmeter.registry import PEFT_MODES
from alignmeter.worker.agreement import AGREEMENT_STEPS


def compare(observed: Signals, reference: Reference, cell: Cell) -> list[Signal]:
    """Each signal beside its reference and the band that rounding explains."""
    steps, band = _comparable_steps(cell), precision_of(cell.precision).band
    return [
        Signal(
            name=name,
            measured=[v if math.isfinite(v) else None for v in observed.get(name, [])[:steps]],
            reference=values[:steps],
            band=band * _size(name, values[:steps]),
        )
        for name, values in reference.signals.items()
    ]


def _size(name: str, values: Sequence[float]) -> float:
    # Losses and scores are differences of larger figures and may come near zero; a norm does not.
    largest = max(map(abs, values))
    return largest if name == "grad_norm" else max(1.0, largest)


def _comparable_steps(cell: Cell) -> int:
    # Weights of size 0.02 kept in bf16 alone cannot take an update of 1e-5: after the first step
    # such a cell is right to differ from fp32.
    trains_bf16 = precision_of(cell.precision).base == torch.bfloat16
    return 1 if trains_bf16 and not PEFT_MODES[cell.peft].adapters else AGREEMENT_STEPS
