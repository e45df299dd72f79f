"""The least time that a step can take on the device that it ran on."""

__all__ = ["LeastTime", "least_time"]

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from alignmeter.accelerators import open_accelerator
from alignmeter.analysis.roofline import Bound, Ceilings, MeasuredCeilings, bound_of, ceilings_of
from alignmeter.architectures.precision import precision_of
from alignmeter.cells.cell import Cell
from alignmeter.records.record import Provenance
from alignmeter.session.findings.step_flops import step_demand, unbounded
from alignmeter.session.findings.utilisation import chip_at


@dataclass(frozen=True, kw_only=True, slots=True)
class LeastTime:
    """The ``bound``, or the ``reason`` why there is none."""

    bound: Bound | None = None
    reason: str | None = None

    def of_phase(self, name: str) -> float | None:
        """Seconds that the phase takes at least; ``None`` where nobody knows."""
        phase = None if self.bound is None else self.bound.phases.get(name)
        return None if phase is None else phase.seconds


def least_time(
    cell: Cell,
    place: Provenance,
    own: MeasuredCeilings | None,
    sent: Mapping[str, Mapping[str, int]],
) -> LeastTime:
    """Of a step of ``cell`` on the device of ``place``; ``own``: what was measured of it, where no
    table has it. ``sent``: as in `step_demand`.
    """
    reason = unbounded(cell)
    if reason is not None:
        return LeastTime(reason=reason)
    ceilings = _ceilings(cell, place, own)
    if ceilings is not None:
        return LeastTime(bound=bound_of(step_demand(cell, sent), ceilings))
    if open_accelerator(cell.accelerator).measures_ceilings:
        return LeastTime(reason=f"the peaks of {place.device!r} were not measured")
    return LeastTime(reason=f"no peaks are known for {place.device!r}")


def _ceilings(cell: Cell, place: Provenance, own: MeasuredCeilings | None) -> Ceilings | None:
    if own is not None:
        return own.of(bf16=precision_of(cell.precision).compute is torch.bfloat16)
    chip = chip_at(place)
    return None if chip is None else ceilings_of(chip, cell.world_size)
