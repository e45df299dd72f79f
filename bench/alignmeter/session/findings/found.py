"""What is known of a replicate while it goes on."""

__all__ = ["Findings"]

from dataclasses import dataclass, field

from alignmeter.analysis.roofline import MeasuredCeilings
from alignmeter.cells.cell import Cell
from alignmeter.records.record import Provenance, Reason
from alignmeter.records.reference import Reference
from alignmeter.session.findings.ranks import RanksFound
from alignmeter.session.sampling import Sampling
from alignmeter.worker.messages import (
    EnergyWindow,
    MemoryProfile,
    Observed,
    ProcessPeaks,
    StepReport,
    Target,
)

_NO_TARGET = Target(device=None, reason="the worker did not come so far")


@dataclass(kw_only=True, slots=True)
class Findings:
    """What is known of a replicate so far. ``failure`` is its status and reason, if it failed.

    ``layers``, ``seq_len``: what the agreement steps were cut to (``None``: not). ``target``: what
    ``sampling`` reads. ``extra_warmup``: how many of ``warmup`` were more than asked for.
    ``swapped_bytes``: the worker's memory in swap when the timed steps began. ``notes``: what the
    record says beside its figures.
    """

    cell: Cell
    replicate: int
    seed: int
    sampling: Sampling
    predicted_peak_bytes: int | None = None
    target: Target = _NO_TARGET
    worker_start_s: float | None = None
    build_s: float | None = None
    prepared: dict[str, float] = field(default_factory=dict)
    reference: Reference | None = None
    unchecked: str = "unchecked: the agreement steps were not reached"
    observed: Observed | None = None
    layers: int | None = None
    seq_len: int | None = None
    warmup: list[StepReport] = field(default_factory=list)
    extra_warmup: int = 0
    swapped_bytes: int | None = None
    steps: list[StepReport] = field(default_factory=list)
    profile: MemoryProfile | None = None
    operator_s: dict[str, float] = field(default_factory=dict)
    peaks: ProcessPeaks | None = None
    window: EnergyWindow | None = None
    provenance: Provenance | None = None
    own_ceilings: MeasuredCeilings | None = None
    load_after: float | None = None
    kernel_path: dict[str, str] = field(default_factory=dict)
    notes: list[Reason] = field(default_factory=list)
    failure: tuple[str, Reason] | None = None
    ranks: RanksFound | None = None
