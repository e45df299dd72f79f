"""Whether each metric of a replicate may be ranked."""

__all__ = ["judge"]

import math

from alignmeter.cell import Cell
from alignmeter.record import Energy, Numerics, Reason, Signal, Verdict
from alignmeter.session.agreement import Observed
from alignmeter.session.ledger import MemoryProfile

_LEAST_STEPS = 3
_BUSY_SHARE = 0.10
"""Others' share of the cores above which a median of five steps moved by 3 % and more here."""
_LEDGER_LIMIT = {"cpu tensor storage": 0.01, "vram": 0.03}
_LN2 = math.log(2.0)
_LN2_TOLERANCE = {"fp32": 1e-5}
"""fp32: policy and ref_model run the same operators; bf16 rounds the summed log-probs."""


def judge(
    *,
    cell: Cell,
    numerics: Numerics,
    observed: Observed | None,
    steps: int,
    others_share: float,
    profile: MemoryProfile | None,
    memory_kind: str,
    energy: Energy,
) -> dict[str, Verdict]:
    """Metric -> verdict with its reasons. ``others_share`` is the median over the timed steps."""
    time_reasons = []
    if steps < _LEAST_STEPS:
        time_reasons.append(Reason(code="too_few_steps", text=f"{steps} timed steps"))
    if others_share > _BUSY_SHARE:
        text = f"others used {others_share:.0%} of the cores during the timed steps"
        time_reasons.append(Reason(code="host_loaded", text=text))
    found = {
        "time": time_reasons,
        "memory": _memory(profile, memory_kind),
        "energy": [] if energy.reason is None else [energy.reason],
        "numerics": _numerics(cell, numerics, observed),
    }
    return {metric: Verdict(ok=not reasons, reasons=reasons) for metric, reasons in found.items()}


def _numerics(cell: Cell, numerics: Numerics, observed: Observed | None) -> list[Reason]:
    reasons = []
    losses = numerics.losses
    bad = [i for i, loss in enumerate(losses) if loss is None]
    if bad:
        text = f"{len(bad)} of {len(losses)} losses, the first in step {bad[0] + 1}"
        reasons.append(Reason(code="non_finite_loss", text=text))
    if observed is not None:
        first = observed.signals["loss"][0]
        if cell.method == "dpo" and not abs(first - _LN2) <= _LN2_TOLERANCE.get(
            cell.precision, 0.05
        ):
            text = f"the first loss is {first:.6g}, ln 2 is {_LN2:.6g}"
            reasons.append(Reason(code="first_loss", text=text))
        if observed.silent_adapters:
            silent = observed.silent_adapters
            text = f"{len(silent)} adapters, e.g. {silent[0]}"
            reasons.append(Reason(code="adapter_without_gradient", text=text))
    reasons += [_disagreement(signal) for signal in numerics.agreement if not signal.agrees]
    return reasons


def _disagreement(signal: Signal) -> Reason:
    measured = ", ".join("not finite" if v is None else f"{v:.6g}" for v in signal.measured)
    wanted = ", ".join(f"{v:.6g}" for v in signal.reference)
    text = f"{signal.name} is {measured}; the reference has {wanted} (band {signal.band:.2g})"
    return Reason(code="reference_disagrees", text=text)


def _memory(profile: MemoryProfile | None, kind: str) -> list[Reason]:
    if profile is None:
        return [Reason(code="not_measured", text="the memory step did not finish")]
    share = abs(profile.ledger["unattributed_bytes"]) / profile.peak_bytes
    if share <= _LEDGER_LIMIT[kind]:
        return []
    return [Reason(code="ledger_gap", text=f"{share:.1%} of the peak has no owner")]
