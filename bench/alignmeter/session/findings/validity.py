"""Whether each metric of a replicate is valid."""

__all__ = ["judge"]

from collections.abc import Sequence

from alignmeter.architectures.precision import precision_of
from alignmeter.cells.cell import Cell
from alignmeter.methods import open_method
from alignmeter.records.reasons import Code
from alignmeter.records.record import Energy, Numerics, Reason, Signal, Verdict
from alignmeter.session.findings.disturbances import Timed, disturbances, fallen_back, throttling
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
    timed: Timed,
    profile: MemoryProfile | None,
    memory_kind: str,
    energy: Energy,
    window: EnergyWindow | None = None,
    sampling: Sampling | None = None,
    notes: Sequence[Reason] = (),
) -> dict[str, Verdict]:
    """Metric -> verdict with its reasons. ``notes``: what is known of the weights."""
    fallen = fallen_back(cell, memory_kind, timed.kernel_path)
    kernels = [] if fallen is None else [fallen]
    found = {
        "time": disturbances(timed, memory_kind) + kernels,
        "memory": _memory(profile, memory_kind) + kernels,
        "energy": _energy(energy, window, sampling) + kernels,
        "numerics": _numerics(cell, numerics, observed, notes),
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


def _numerics(
    cell: Cell, numerics: Numerics, observed: Observed | None, notes: Sequence[Reason]
) -> list[Reason]:
    reasons = []
    losses = numerics.losses
    bad = [i for i, loss in enumerate(losses) if loss is None]
    if bad:
        text = f"{len(bad)} of {len(losses)} losses, the first in step {bad[0] + 1}"
        reasons.append(Reason(code=Code.NON_FINITE_LOSS, text=text))
    if observed is not None:
        found, known = observed.signals["loss"][0], open_method(cell.method).first_loss(cell)
        band = precision_of(cell.precision).first_loss_band
        if known is not None and not abs(found - known) <= band * max(1.0, known):
            text = f"the first loss is {found:.6g}, with these models it is {known:.6g}"
            reasons.append(Reason(code=Code.FIRST_LOSS, text=text))
        if observed.answers_equal:
            text = "no pair of the first step has two answers that differ within the cut"
            reasons.append(Reason(code=Code.PAIRS_EQUAL, text=text))
        elif observed.silent_adapters:
            reasons.append(_silence(observed.silent_adapters, notes))
    reasons += [_disagreement(signal) for signal in numerics.agreement if not signal.agrees]
    return reasons


def _silence(silent: Sequence[str], notes: Sequence[Reason]) -> Reason:
    """Kernels that pass a layer by leave its adapter without a gradient, and so does a matrix of
    zeros behind it: where the weights have one, it is the cause.
    """
    text = f"{len(silent)} adapters without a gradient, e.g. {silent[0]}"
    for note in notes:
        if note.code == Code.WEIGHTS_ZERO:
            return Reason(code=Code.WEIGHTS_ZERO, text=f"{text}; {note.text}")
    return Reason(code=Code.ADAPTER_WITHOUT_GRADIENT, text=text)


def _disagreement(signal: Signal) -> Reason:
    measured = ", ".join("not finite" if v is None else f"{v:.6g}" for v in signal.measured)
    wanted = ", ".join(f"{v:.6g}" for v in signal.reference)
    text = f"{signal.name} is {measured}; the reference has {wanted} (band {signal.band:.2g})"
    return Reason(code=Code.REFERENCE_DISAGREES, text=text)


def _memory(profile: MemoryProfile | None, kind: str) -> list[Reason]:
    if profile is None:
        return [Reason(code=Code.NOT_MEASURED, text="the memory step did not finish")]
    share = abs(profile.ledger["unattributed_bytes"]) / profile.peak_bytes
    if share <= _LEDGER_LIMIT[kind]:
        return []
    return [Reason(code=Code.LEDGER_GAP, text=f"{share:.1%} of the peak has no owner")]
