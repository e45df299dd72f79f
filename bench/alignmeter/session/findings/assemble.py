"""From what a replicate found to its record."""

__all__ = ["assemble"]

import math
from collections.abc import Iterable

import msgspec

from alignmeter.accelerators import open_accelerator
from alignmeter.records.record import (
    SCHEMA_VERSION,
    Energy,
    Memory,
    Numerics,
    Phase,
    Provenance,
    Reason,
    Record,
    Timing,
    Verdict,
)
from alignmeter.session.findings.bands import compare
from alignmeter.session.findings.disturbances import Timed
from alignmeter.session.findings.energy import settle
from alignmeter.session.findings.found import Findings
from alignmeter.session.findings.least_time import LeastTime, least_time
from alignmeter.session.findings.median import median
from alignmeter.session.findings.rollout import COMPILE, rollout_found, step_phases
from alignmeter.session.findings.throughput import share_of, throughput, typical
from alignmeter.session.findings.validity import judge
from alignmeter.session.links import kept_links
from alignmeter.session.sampling import Readings
from alignmeter.worker.messages import (
    ProcessPeaks,
    Target,
)

_NO_ENERGY = Energy(
    source="none", reason=Reason(code="not_measured", text="the energy window was not reached")
)


def assemble(found: Findings) -> Record:
    """The record. Raises `ValueError` if there is no provenance."""
    status, reason = found.failure or ("ok", None)
    numerics = _numerics(found)
    energy = _energy(found)
    readings = found.sampling.during([report.spans for report in found.steps])
    provenance = _provenance(found, readings)
    sent = {} if found.ranks is None else found.ranks.sent()
    least = least_time(found.cell, provenance, found.own_ceilings, sent)
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
            "phases": _phases(found, least),
            "memory": _memory(found, kind, readings),
            "ledger": {} if found.profile is None else found.profile.ledger,
            "energy": energy,
            "telemetry": found.sampling.telemetry(),
            "throughput": throughput(found.cell, found.steps, provenance, least),
            "numerics": numerics,
            "validity": _validity(found, numerics, energy, kind, readings),
            "provenance": provenance,
            "notes": found.notes,
            "rollout": rollout_found(
                found.cell,
                steps=found.steps,
                cache=None if found.profile is None else found.profile.cache,
                peaks=found.peaks,
                prepared=found.prepared,
            ),
            **_of_ranks(found),
        },
        Record,
        from_attributes=True,
    )


def _energy(found: Findings) -> Energy:
    samples = found.sampling.samples
    if found.ranks is not None:
        return found.ranks.energy(samples) or _NO_ENERGY
    if found.window is None:
        return _NO_ENERGY
    return settle(found.window, found.target, samples)


def _of_ranks(found: Findings) -> dict[str, object]:
    """The record's fields that one device's leaves out."""
    ranks = found.ranks
    if ranks is None or (found.worker_start_s is None and ranks.failed is None):
        return {}
    return {
        "ranks": ranks.rows(found.cell, found.sampling.samples),
        "communication": ranks.communication(
            kept_links(found.cell.accelerator, found.cell.world_size)
        ),
        "failed_rank": ranks.failed,
    }


def _numerics(found: Findings) -> Numerics:
    losses = _losses(found)
    if found.observed is None:
        return Numerics(losses=_finite(losses), reason=found.unchecked)
    if found.layers is None and found.seq_len is None:
        losses = found.observed.signals["loss"] + losses
    if found.reference is None:
        return Numerics(losses=_finite(losses), reason=found.unchecked)
    if not all(math.isfinite(v) for values in found.reference.signals.values() for v in values):
        reason = "unchecked: the reference is not finite either"
        return Numerics(losses=_finite(losses), reason=reason)
    signals = compare(found.observed.signals, found.reference, found.cell)
    if found.observed.answers_equal:  # two norms of rounding agree in nothing
        signals = [signal for signal in signals if signal.name != "grad_norm"]
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


def _losses(found: Findings) -> list[float]:
    """Of as many steps as were asked for, so that replicates have the losses of the same steps.

    More warm-up pushes the last ones out, unless one of them is not finite.
    """
    losses = [report.loss for report in (*found.warmup, *found.steps)]
    kept = len(losses) - found.extra_warmup
    return losses[:kept] if all(map(math.isfinite, losses)) else losses


def _finite(losses: Iterable[float]) -> list[float | None]:
    return [loss if math.isfinite(loss) else None for loss in losses]


def _provenance(found: Findings, readings: Readings) -> Provenance:
    if found.provenance is None:
        raise ValueError("a record needs its provenance")
    return msgspec.structs.replace(
        found.provenance,
        load_after=found.load_after,
        kernel_path=found.kernel_path,
        throttle_reasons=readings.throttle_reasons(),
        clocks_mhz=readings.clocks_mhz(),
        **_identity(found.target, found.provenance),
    )


def _identity(target: Target, provenance: Provenance) -> dict[str, object]:
    """What the vendor's library says of the device; what torch said stays where it says nothing."""
    if target.identity is None:
        return {}
    said = target.identity
    return {
        "uuid": said.uuid or provenance.uuid,
        "driver": said.driver or provenance.driver,
        "pci_bus_id": said.pci_bus_id,
        "partition": said.partition,
        "form_factor": said.form_factor,
        "power_cap_w": said.power_cap_w,
    }


def _validity(
    found: Findings, numerics: Numerics, energy: Energy, kind: str, readings: Readings
) -> dict[str, Verdict]:
    if found.failure is not None and not numerics.losses:
        return {}
    return judge(
        cell=found.cell,
        numerics=numerics,
        observed=found.observed,
        reference=found.reference,
        notes=found.notes,
        timed=_timed(found, readings),
        profile=found.profile,
        memory_kind=kind,
        energy=energy,
        window=found.window,
        sampling=found.sampling,
    )


def _timed(found: Findings, readings: Readings) -> Timed:
    return Timed(
        step_s=[report.seconds for report in found.steps],
        warmup_s=[report.seconds for report in found.warmup],
        others_share=median(report.others_share for report in found.steps) or 0.0,
        swapped_bytes=[found.swapped_bytes, *(r.swapped_bytes for r in found.steps)],
        readings=readings,
        reserved_bytes=None if found.peaks is None else found.peaks.reserved_bytes,
        device_used_bytes=None if found.peaks is None else found.peaks.device_used_bytes,
        kernel_path=found.kernel_path,
    )


def _timing(found: Findings) -> Timing:
    return Timing(
        warmup_s=[report.seconds for report in found.warmup],
        step_s=[report.seconds for report in found.steps],
        median_s=typical(found.cell, (report.seconds for report in found.steps)),
        compile_s=None if found.peaks is None else found.peaks.compile_s,
        build_s=found.build_s,
        worker_start_s=found.worker_start_s,
        operator_s=found.operator_s,
    )


def _phases(found: Findings, least: LeastTime) -> dict[str, Phase]:
    peaks = {} if found.profile is None else found.profile.phase_peaks
    seen = {name for report in found.steps for name in report.phases}
    phases = {}
    for name in step_phases(found.cell):
        if seen and name not in seen:
            continue
        times = (r.phases[name] for r in found.steps if name in r.phases)
        median_s = typical(found.cell, times)
        bound_s = None if median_s is None else least.of_phase(name)
        phases[name] = Phase(
            median_s=median_s,
            peak_bytes=peaks.get(name),
            bound_s=bound_s,
            bound_share=share_of(bound_s, median_s),
        )
    prepared = {name: s for name, s in found.prepared.items() if name != COMPILE}
    return {name: Phase(median_s=s) for name, s in prepared.items()} | phases


def _memory(found: Findings, kind: str, readings: Readings) -> Memory:
    profile, peaks = found.profile, found.peaks
    if profile is None:
        reason = Reason(code="not_measured", text="the memory step was not reached")
        return Memory(kind=kind, predicted_peak_bytes=found.predicted_peak_bytes, reason=reason)
    return Memory(
        kind=kind,
        allocated_peak_bytes=profile.peak_bytes,
        reserved_peak_bytes=None if peaks is None else peaks.reserved_bytes,
        process_peak_bytes=readings.process_peak_bytes() if kind == "vram" else None,
        device_peak_bytes=_device_peak(peaks, readings) if kind == "vram" else None,
        rss_peak_bytes=None if peaks is None else peaks.rss_bytes,
        peak_phase=profile.phase,
        peak_operator=profile.operator,
        predicted_peak_bytes=found.predicted_peak_bytes,
        seq_len=profile.seq_len if profile.seq_len != found.cell.seq_len else None,
    )


def _device_peak(peaks: ProcessPeaks | None, readings: Readings) -> int | None:
    """The vendor's library, sampled; else the runtime's figure after the last timed step, when
    the caching allocator still holds what it reserved at the peak.
    """
    sampled = readings.device_peak_bytes()
    if sampled is not None or peaks is None:
        return sampled
    return peaks.device_used_bytes
