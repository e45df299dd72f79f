"""MFU: the model FLOPs of a step over what the chip could have done in its time."""

__all__ = ["Utilisation", "chip_at", "utilisation"]

from dataclasses import dataclass

import torch

from alignmeter.analysis.chips import Peak, chip_of, peak
from alignmeter.architectures.precision import precision_of
from alignmeter.cells.cell import Cell
from alignmeter.flops import StepFlops
from alignmeter.records.record import Provenance
from alignmeter.session.findings.step_flops import step_flops, uncounted


@dataclass(frozen=True, kw_only=True, slots=True)
class Utilisation:
    """``flops``: ``None`` where nobody has counted them. ``mfu``: a share of 1, or ``reason``.

    MFU as in PaLM (https://arxiv.org/abs/2204.02311, section 4.1 and appendix B): without what is
    recomputed, attention over the full square of tokens.
    """

    flops: StepFlops | None = None
    mfu: float | None = None
    reason: str | None = None


def utilisation(cell: Cell, step_s: float | None, provenance: Provenance) -> Utilisation:
    """Of a step of ``cell`` that took ``step_s`` on the device of ``provenance``.

    ``mfu = total FLOPs / (step_s x dense BF16 peak in FLOP/s x devices)``.
    """
    if step_s is None:
        return Utilisation(reason="no step was timed")
    reason = uncounted(cell)
    if reason is not None:
        return Utilisation(reason=reason)
    flops = step_flops(cell)
    if precision_of(cell.precision).compute is not torch.bfloat16:
        text = f"the products of {cell.precision} are not what the BF16 peak is for"
        return Utilisation(flops=flops, reason=text)
    chip = chip_at(provenance)
    flops_per_s = None if chip is None else chip.bf16_flops_per_s
    if flops_per_s is None:
        return Utilisation(flops=flops, reason=f"no BF16 peak is known for {provenance.device!r}")
    of_all = step_s * flops_per_s * cell.world_size
    return Utilisation(flops=flops, mfu=flops.total / of_all)


def chip_at(place: Provenance) -> Peak | None:
    """The row of the device's chip, or ``None`` if it is not one known chip."""
    chip = chip_of(
        place.device,
        place.form_factor,
        place.power_cap_w,
        place.device_memory_bytes,
        place.partition,
    )
    return None if chip is None else peak(chip)
