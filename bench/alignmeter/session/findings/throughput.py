"""What a replicate's timed steps come to: seconds of one, tokens per s, utilisation."""

__all__ = ["share_of", "throughput", "typical"]

import statistics
from collections.abc import Callable, Iterable, Sequence

from alignmeter.cells.cell import Cell
from alignmeter.records.record import Provenance, Throughput
from alignmeter.session.findings.least_time import LeastTime
from alignmeter.session.findings.median import median
from alignmeter.session.findings.utilisation import utilisation
from alignmeter.worker.messages import StepReport


def typical(cell: Cell, seconds: Iterable[float]) -> float | None:
    """Of steps of one cell: the median, which a disturbed step does not move. Where batches differ
    in length it is the mean: so many steps take so many times as long.
    """
    listed = list(seconds)
    if cell.batching == "fixed" or not listed:
        return median(listed)
    return statistics.fmean(listed)


def throughput(
    cell: Cell, steps: Sequence[StepReport], provenance: Provenance, least: LeastTime
) -> Throughput:
    """Tokens per s and utilisation of the timed ``steps`` of one replicate.

    ``least``: what a step takes at least on this device.
    """
    step_s = typical(cell, (report.seconds for report in steps))
    used = utilisation(cell, step_s, provenance)
    bound_s = None if step_s is None or least.bound is None else least.bound.seconds
    samples = any(report.generated_tokens for report in steps)
    return Throughput(
        trained_tokens_per_s=_rate(cell, steps, lambda report: report.trained_tokens),
        generated_tokens_per_s=(
            _rate(cell, steps, lambda report: report.generated_tokens) if samples else None
        ),
        padded_tokens_per_s=_rate(cell, steps, lambda report: report.padded_tokens),
        flops={} if used.flops is None else used.flops.phases,
        masked_flops=None if used.flops is None else used.flops.masked,
        recomputed_flops=None if used.flops is None else used.flops.recomputed,
        mfu=used.mfu,
        mfu_reason=used.reason,
        bound_s=bound_s,
        bound_share=share_of(bound_s, step_s),
        bound_reason=least.reason if step_s is not None else used.reason,
    )


def share_of(bound_s: float | None, seconds: float | None) -> float | None:
    """How much of the measured time the bound explains; ``None`` where one of them is missing."""
    return bound_s / seconds if bound_s is not None and seconds else None


def _rate(
    cell: Cell, steps: Sequence[StepReport], tokens: Callable[[StepReport], int]
) -> float | None:
    """Tokens per s: the median step's. Where batches differ in length, of all steps together."""
    if cell.batching == "fixed" or not steps:
        return median(tokens(report) / report.seconds for report in steps)
    return sum(map(tokens, steps)) / sum(report.seconds for report in steps)
