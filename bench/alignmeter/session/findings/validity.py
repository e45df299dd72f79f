"""Whether each metric of a replicate is valid."""

__all__ = ["judge"]

from collections.abc import Sequence

from alignmeter.cells.cell import Cell
from alignmeter.records.reasons import Code
from alignmeter.records.record import Energy, Numerics, Reason, Verdict
from alignmeter.records.reference import Reference
from alignmeter.session.findings.disturbances import Timed, disturbances, fallen_back, throttling
from alignmeter.session.findings.numerics import judge_numerics
from alignmeter.session.sampling import Sampling, longest_gap_s
from alignmeter.worker.energy_window import LEAST_S
from alignmeter.worker.messages import EnergyWindow, MemoryProfile, Observed

_LEDGER_LIMIT = {"cpu tensor storage": 0.01, "vram": 0.03}
_ENERGY_APART = 0.10
"""A sensor that looks 25 of every 100 ms is off by more than this at few step times only; a counter
with the wrong unit or of another device is off by more at all.
"""
_SAMPLER_GAP_S = LEAST_S / 10
"""A tenth of the shortest energy window."""


def judge(
    *,
    cell: Cell,
    numerics: Numerics,
    observed: Observed | None,
    reference: Reference | None = None,
    timed: Timed,
    profile: MemoryProfile | None,
    memory_kind: str,
    energy: Energy,
    window: EnergyWindow | None = None,
    sampling: Sampling | None = None,
    notes: Sequence[Reason] = (),
) -> dict[str, Verdict]:
    """Metric -> verdict with its reasons. ``notes``: what is known of the weights; ``reference``:
    what the agreement steps were compared with.
    """
    fallen = fallen_back(cell, memory_kind, timed.kernel_path)
    kernels = [] if fallen is None else [fallen]
    found = {
        "time": disturbances(timed, memory_kind) + kernels,
        "memory": _memory(profile, memory_kind) + kernels,
        "energy": _energy(energy, window, sampling) + kernels,
        "numerics": judge_numerics(cell, numerics, observed, reference, notes),
    }
    return {metric: Verdict(ok=not reasons, reasons=reasons) for metric, reasons in found.items()}


def _energy(energy: Energy, window: EnergyWindow | None, sampling: Sampling | None) -> list[Reason]:
    reasons = [] if energy.reason is None else [energy.reason]
    polled, counted = energy.polled_per_step_j, energy.per_step_j
    if energy.source == "counter" and polled is not None and counted:
        apart = abs(polled - counted) / counted
        if apart > _ENERGY_APART:
            text = f"polled power gives {polled:.4g} J per step, the counter {counted:.4g} J"
            reasons.append(Reason(code=Code.ENERGY_DISAGREES, text=text))
    slowed = None
    if window is not None and sampling is not None:
        slowed = throttling(sampling.during(window.steps))
    if slowed is not None:
        reasons.append(slowed)
    if energy.source == "polled" and window is not None and sampling is not None:
        gap = longest_gap_s(sampling.during(window.steps).samples)
        if gap is not None and gap > _SAMPLER_GAP_S:
            text = f"{gap:.2f} s without a reading in the energy window"
            reasons.append(Reason(code=Code.SAMPLER_GAP, text=text))
    return reasons


def _memory(profile: MemoryProfile | None, kind: str) -> list[Reason]:
    if profile is None:
        return [Reason(code=Code.NOT_MEASURED, text="the memory step did not finish")]
    share = abs(profile.ledger["unattributed_bytes"]) / profile.peak_bytes
    if share <= _LEDGER_LIMIT[kind]:
        return []
    return [Reason(code=Code.LEDGER_GAP, text=f"{share:.1%} of the peak has no owner")]
