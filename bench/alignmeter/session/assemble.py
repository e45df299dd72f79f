"""From what a replicate found to its record."""

__all__ = ["Findings", "assemble"]

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from alignmeter.accelerators import open_accelerator
from alignmeter.cell import Cell
from alignmeter.methods import open_method
from alignmeter.record import (
    SCHEMA_VERSION,
    Energy,
    Memory,
    Numerics,
    Phase,
    Provenance,
    Reason,
    Record,
    Throughput,
    Timing,
    Verdict,
)
from alignmeter.reference import Reference
from alignmeter.session.agreement import Observed, compare
from alignmeter.session.ledger import MemoryProfile
from alignmeter.session.validity import judge
from alignmeter.session.workload import StepReport

_NO_ENERGY = Energy(
    source="none", reason=Reason(code="not_measured", text="the energy window was not reached")
)


@dataclass(kw_only=True, slots=True)
class Findings:
    """What is known of a replicate so far. ``failure`` is its status and reason, if it failed.

    ``layers``, ``seq_len``: what the agreement steps were cut to (``None``: not).
    """

    cell: Cell
    replicate: int
    seed: int
    worker_start_s: float | None = None
    build_s: float | None = None
    prepared: dict[str, float] = field(default_factory=dict)
    reference: Reference | None = None
    unchecked: str = "unchecked: the agreement steps were not reached"
    observed: Observed | None = None
    layers: int | None = None
    seq_len: int | None = None
    warmup: list[StepReport] = field(default_factory=list)
    steps: list[StepReport] = field(default_factory=list)
    profile: MemoryProfile | None = None
    operator_s: dict[str, float] = field(default_factory=dict)
    reserved_peak_bytes: int | None = None
    rss_peak_bytes: int | None = None
    energy: Energy = _NO_ENERGY
    provenance: Provenance | None = None
    load_after: float | None = None
    kernel_path: dict[str, str] = field(default_factory=dict)
    failure: tuple[str, Reason] | None = None


def _median(values: Iterable[float]) -> float | None:
    listed = list(values)
    return statistics.median(listed) if listed else None


def assemble(found: Findings) -> Record:
    """The record. Raises `ValueError` if there is no provenance."""
    if found.provenance is None:
        raise ValueError("a record needs its provenance")
    status, reason = found.failure or ("ok", None)
    numerics = _numerics(found)
    kind = open_accelerator(found.cell.accelerator).memory_kind
    return msgspec.convert(
        {
            "schema_version": SCHEMA_VERSION,
            "status": status,
            "reason": reason,
            "replicate": found.replicate,
            "seed": found.seed,
            "cell": found.cell,
            "timing": _timing(found),
            "phases": _phases(found),
            "memory": _memory(found, kind),
            "ledger": {} if found.profile is None else found.profile.ledger,
            "energy": found.energy,
            "throughput": _throughput(found.steps),
            "numerics": numerics,
            "validity": _validity(found, numerics, kind, status),
            "provenance": msgspec.structs.replace(
                found.provenance, load_after=found.load_after, kernel_path=found.kernel_path
            ),
        },
        Record,
        from_attributes=True,
    )


def _numerics(found: Findings) -> Numerics:
    losses = [report.loss for report in (*found.warmup, *found.steps)]
    if found.observed is None:
        return Numerics(losses=_finite(losses), reason=found.unchecked)
    if found.layers is None and found.seq_len is None:
        losses = found.observed.signals["loss"] + losses
    if found.reference is None:
        return Numerics(losses=_finite(losses), reason=found.unchecked)
    signals = compare(found.observed.signals, found.reference, found.cell)
    apart = [signal.name for signal in signals if not signal.agrees]
    return Numerics(
        losses=_finite(losses),
        reference_losses=found.reference.signals["loss"],
        agreement=signals,
        agreement_layers=found.layers,
        agreement_seq_len=found.seq_len,
        agrees=not apart,
        reason=f"outside the band: {', '.join(apart)}" if apart else None,
    )


def _finite(losses: Iterable[float]) -> list[float | None]:
    return [loss if math.isfinite(loss) else None for loss in losses]


def _validity(found: Findings, numerics: Numerics, kind: str, status: str) -> dict[str, Verdict]:
    if status != "ok" and not numerics.losses:
        return {}
    return judge(
        cell=found.cell,
        numerics=numerics,
        observed=found.observed,
        steps=len(found.steps),
        others_share=_median(report.others_share for report in found.steps) or 0.0,
        profile=found.profile,
        memory_kind=kind,
        energy=found.energy,
    )


def _timing(found: Findings) -> Timing:
    return Timing(
        warmup_s=[report.seconds for report in found.warmup],
        step_s=[report.seconds for report in found.steps],
        median_s=_median(report.seconds for report in found.steps),
        build_s=found.build_s,
        worker_start_s=found.worker_start_s,
        operator_s=found.operator_s,
    )


def _phases(found: Findings) -> dict[str, Phase]:
    peaks = {} if found.profile is None else found.profile.phase_peaks
    seen = {name for report in found.steps for name in report.phases}
    phases = {
        name: Phase(
            median_s=_median(r.phases[name] for r in found.steps if name in r.phases),
            peak_bytes=peaks.get(name),
        )
        for name in open_method(found.cell.method).phases
        if name in seen or not seen
    }
    return {name: Phase(median_s=s) for name, s in found.prepared.items()} | phases


def _memory(found: Findings, kind: str) -> Memory:
    profile = found.profile
    if profile is None:
        reason = Reason(code="not_measured", text="the memory step was not reached")
        return Memory(kind=kind, reason=reason)
    return Memory(
        kind=kind,
        allocated_peak_bytes=profile.peak_bytes,
        reserved_peak_bytes=found.reserved_peak_bytes,
        rss_peak_bytes=found.rss_peak_bytes,
        peak_phase=profile.phase,
        peak_operator=profile.operator,
    )


def _throughput(steps: list[StepReport]) -> Throughput:
    return Throughput(
        trained_tokens_per_s=_median(r.trained_tokens / r.seconds for r in steps),
        generated_tokens_per_s=(
            _median(r.generated_tokens / r.seconds for r in steps)
            if any(r.generated_tokens for r in steps)
            else None
        ),
        padded_tokens_per_s=_median(r.padded_tokens / r.seconds for r in steps),
    )
