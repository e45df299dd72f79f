"""The answers of all ranks to one question as one: of the slowest step, of the largest peak."""

__all__ = ["joined"]

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from alignmeter.accelerators.machines import this_machine
from alignmeter.worker.messages import MemoryProfile, ProcessPeaks, StepReport


def joined(answers: Sequence[Any]) -> Any:
    """One for all ranks; what is alike on all of them is rank 0's."""
    first = answers[0]
    if isinstance(first, StepReport):
        return _step(answers)
    if isinstance(first, MemoryProfile):
        return max(answers, key=lambda profile: profile.peak_bytes)
    if isinstance(first, ProcessPeaks):
        return _peaks(answers)
    return max(answers) if isinstance(first, float) else first


def _step(reports: Sequence[StepReport]) -> StepReport:
    """The slowest rank's; its spans are those of rank 0, whose device and clock the timeline has.

    Of the host's cores others use what no rank does.
    """
    slowest = max(reports, key=lambda report: report.seconds)
    busy = [report.others_share + report.own_share for report in reports]
    own = sum(report.own_share for report in reports) / this_machine().count
    swapped = [report.swapped_bytes for report in reports if report.swapped_bytes is not None]
    return replace(
        slowest,
        spans=reports[0].spans,
        others_share=max(0.0, sum(busy) / len(busy) - own),
        own_share=own,
        swapped_bytes=sum(swapped) if swapped else None,
    )


def _peaks(every: Sequence[ProcessPeaks]) -> ProcessPeaks:
    """The largest of each."""

    def most(name: str) -> Any:
        known = [value for value in (getattr(one, name) for one in every) if value is not None]
        return max(known, default=None)

    names = ("reserved_bytes", "device_used_bytes", "rss_bytes", "compile_s")
    return ProcessPeaks(**{name: most(name) for name in names})
