"""What a record says of its rollouts, beside the phases of its steps."""

__all__ = ["COMPILE", "rollout_found", "step_phases"]

from collections.abc import Mapping, Sequence

from alignmeter.cells.cell import Cell
from alignmeter.methods import open_method
from alignmeter.records.record import Rollout
from alignmeter.registry import METHODS, ROLLOUTS, row_of
from alignmeter.session.findings.median import median
from alignmeter.worker.messages import CacheUse, ProcessPeaks, StepReport

COMPILE = "compile"
"""The phase before the first step in which an engine compiles. It is no part of a step."""
_ROLLOUT = "rollout"


def step_phases(cell: Cell) -> tuple[str, ...]:
    """The phases of the cell's steps, in order, those of its rollout engine among them."""
    own = open_method(cell.method).phases
    if not row_of(METHODS, cell.method).rollouts:
        return own
    return (*row_of(ROLLOUTS, cell.rollout).phases, *own)


def rollout_found(
    cell: Cell,
    *,
    steps: Sequence[StepReport],
    cache: CacheUse | None,
    peaks: ProcessPeaks | None,
    prepared: Mapping[str, float],
) -> Rollout | None:
    """``None`` for a method that samples nothing."""
    if not row_of(METHODS, cell.method).rollouts:
        return None
    shares = (r.phases[_ROLLOUT] / r.seconds for r in steps if _ROLLOUT in r.phases)
    gaps = (r.logprob_gap for r in steps if r.logprob_gap is not None)
    return Rollout(
        cache_reserved_bytes=None if cache is None else cache.reserved_bytes,
        cache_used_bytes=None if cache is None else cache.used_bytes,
        step_share=median(shares),
        compile_s=prepared.get(COMPILE),
        engine_bytes=_beside_torch(peaks) if row_of(ROLLOUTS, cell.rollout).served else None,
        logprob_gap=median(gaps),
    )


def _beside_torch(peaks: ProcessPeaks | None) -> int | None:
    """What the device has in use after the last timed step, less all that torch reserved here."""
    if peaks is None or peaks.device_used_bytes is None or peaks.reserved_bytes is None:
        return None
    return peaks.device_used_bytes - peaks.reserved_bytes
