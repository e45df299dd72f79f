"""Clocks of a cell's rounds beside each other: no record alone can say that its clock drifted."""

__all__ = ["LARGEST_SHARE", "with_clock_drift"]

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from alignmeter.analysis.likeness import groups
from alignmeter.records.reasons import Code
from alignmeter.records.record import VRAM, Reason, Record, Verdict

LARGEST_SHARE = 0.03
"""A step that waits for the clock takes as much longer as the clock is lower, and 3 % is the
smallest effect on time that counts.
"""
_FOLLOW_THE_CLOCK = ("time", "energy")


def with_clock_drift(records: Sequence[Record]) -> list[Record]:
    """The records, in their order; those whose clock was not their replicates' are marked.

    A replicate whose median compute or memory clock is more than 3 % off the median over its
    `likeness` group gets the reason ``clock_drift`` on its time, and on its energy if it has one.
    The whole set is judged, in whatever folders it lies. Only accelerators: a CPU's clock is the
    mean over all cores and follows their load.
    """
    judged = {
        id(record): _judged(record, usual)
        for group in groups(record for record in records if record.memory.kind == VRAM)
        if len(group.records) > 1
        for usual in (_medians(group.records),)
        for record in group.records
    }
    return [judged.get(id(record), record) for record in records]


def _medians(group: Iterable[Record]) -> dict[str, float]:
    clocks: dict[str, list[float]] = defaultdict(list)
    for record in group:
        if record.status == "ok" and record.memory.kind == VRAM:
            for name, mhz in record.provenance.clocks_mhz.items():
                clocks[name].append(mhz)
    return {name: statistics.median(values) for name, values in clocks.items()}


def _judged(record: Record, usual: Mapping[str, float]) -> Record:
    if record.status != "ok" or record.memory.kind != VRAM:
        return record
    off = [
        f"{name} {mhz:.0f} MHz, the rounds' median {usual[name]:.0f} MHz"
        for name, mhz in record.provenance.clocks_mhz.items()
        if name in usual and abs(mhz - usual[name]) > LARGEST_SHARE * usual[name]
    ]
    if not off:
        return record
    reason = Reason(code=Code.CLOCK_DRIFT, text="; ".join(off))
    invalid = {
        metric: Verdict(ok=False, reasons=[*verdict.reasons, reason])
        for metric, verdict in record.validity.items()
        if metric in _FOLLOW_THE_CLOCK and reason not in verdict.reasons
    }
    if record.energy.per_step_j is None:
        invalid.pop("energy", None)
    return replace(record, validity={**record.validity, **invalid})
