"""How far rounding may take a cell's signals from its reference's."""

__all__ = ["compare"]

import math
from collections.abc import Sequence

from alignmeter.cells.cell import Cell
from alignmeter.peft import open_peft
from alignmeter.records.record import Signal
from alignmeter.records.reference import Reference, Signals
from alignmeter.worker.agreement import AGREEMENT_STEPS

_BANDS = {"fp32": 2e-4, "bf16-mixed": 0.04, "bf16-base": 0.04, "bf16": 0.04}
"""How far rounding can move a signal, as a share of its size (`docs/how-it-measures.md`).

A path of n roundings with unit roundoff u moves a figure by about u sqrt(n). 48 layers with eight
rounded operators each give 20 u. bf16 rounds results only (u = 2**-9): 0.04. fp32 (u = 2**-24) also
rounds within dot products of up to 14336 terms, another sqrt(14336) = 120: 1.4e-4.
"""


def compare(observed: Signals, reference: Reference, cell: Cell) -> list[Signal]:
    """Each signal beside its reference and the band that rounding explains."""
    steps = _comparable_steps(cell)
    return [
        Signal(
            name=name,
            measured=[v if math.isfinite(v) else None for v in observed.get(name, [])[:steps]],
            reference=values[:steps],
            band=_BANDS[cell.precision] * _size(name, values[:steps]),
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
    return 1 if cell.precision == "bf16" and not open_peft(cell.peft).adapters else AGREEMENT_STEPS
