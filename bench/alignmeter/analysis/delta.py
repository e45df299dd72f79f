"""What one method's peak is above another's: pairing, figure, parts; for terminal and report alike.

Which methods are held against each other stands in the registry: DPO and PPO first.
"""

__all__ = ["PARTS", "Delta", "deltas", "newest", "peak_counts"]

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from alignmeter.analysis.intervals import Estimate
from alignmeter.analysis.likeness import UNKNOWN, Group, Place, groups
from alignmeter.analysis.pairings import pairings
from alignmeter.cells.cell import Cell
from alignmeter.cells.labels import spelled
from alignmeter.records.record import Record
from alignmeter.registry import DELTAS

PARTS: dict[str, tuple[str, ...]] = {
    "resident weights": (
        "policy_weights",
        "ref_weights",
        "reward_weights",
        "value_weights",
        "teacher_weights",
        "quantisation_state",
    ),
    "trainable state": ("adapters", "gradients", "optimizer_state"),
    "activations and rollout": (
        "rollout_cache",
        "gathered_weights",
        "communication",
        "activations",
        "workspace",
        "library_workspace",
        "batch",
        "unattributed",
    ),
}
"""Part of the delta -> the ledger rows it sums. Together they are the whole ledger."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Delta:
    """peak(``versus``) - peak(``cell``) over one full step, every other axis held equal.

    ``parts`` maps each of `PARTS` to its bytes and sums to ``bytes``; it is empty where one side
    has no ledger. Peaks are the maximum over replicates, all of one commit on one ``device``,
    which is named with its setting where there are several (`Group.where`). ``name``: the device's
    alone; ``place``: all that the second peak is bound to. ``peaks``, ``versus_peaks``: of each
    replicate. ``differing``: what else differs, in words; empty if nothing does.
    """

    cell: Cell
    versus: Cell
    device: str
    name: str
    place: Place
    peak_bytes: int
    versus_peak_bytes: int
    kind: str
    parts: dict[str, int]
    replicates: int
    peaks: tuple[int, ...]
    versus_peaks: tuple[int, ...]
    differing: str = ""

    @property
    def bytes(self) -> int:
        """The second peak above the first; negative where the first needs more."""
        return self.versus_peak_bytes - self.peak_bytes

    @property
    def percent(self) -> float:
        """Per cent of the second peak that the first method saves."""
        return self.share(self.bytes)

    def share(self, count: int) -> float:
        """``count`` bytes in per cent of the second peak."""
        return 100 * count / self.versus_peak_bytes

    @property
    def ratio(self) -> Estimate:
        """The first peak over the second; its bounds are those over all pairs of replicates.

        Most often all replicates have the same bytes, and the bounds are the value.
        """
        return Estimate(
            value=self.peak_bytes / self.versus_peak_bytes,
            low=min(self.peaks) / max(self.versus_peaks),
            high=max(self.peaks) / min(self.versus_peaks),
            n=self.replicates,
        )

    @property
    def names(self) -> tuple[str, str]:
        """Both methods as people write them: ``("DPO", "PPO")``."""
        return spelled("method", self.cell.method), spelled("method", self.versus.method)


def deltas(records: Iterable[Record], found: Iterable[Group] | None = None) -> list[Delta]:
    """One row per pair of `DELTAS` that was measured (``ok``, memory valid), in their order.

    Of each pair the newest commit and session that has both. ``found``: the groups of the records,
    if they are known.
    """
    measured = list(_measured(groups(records) if found is None else found))
    rows = [
        _delta(pair.other, pair.base, pair.differing)
        for method, versus in DELTAS
        for pair in pairings(measured, "method", versus, (method,))
    ]
    order = list(DELTAS)
    return sorted(
        rows,
        key=lambda row: (order.index((row.cell.method, row.versus.method)), row.versus.id,
                         row.device.lower()),
    )  # fmt: skip


def newest(rows: Sequence[Delta]) -> list[Delta]:
    """Those of the environment in which each hardware was measured last, in their order."""
    last: dict[object, datetime] = {}
    for row in rows:
        when = row.place.session or UNKNOWN
        last[row.place.hardware] = max(when, last.get(row.place.hardware, when))
    kept = {(r.place.hardware, r.place.environment) for r in rows
            if (r.place.session or UNKNOWN) == last[r.place.hardware]}  # fmt: skip
    return [row for row in rows if (row.place.hardware, row.place.environment) in kept]


def _measured(found: Iterable[Group]) -> Iterator[Group]:
    """The groups with those of their replicates whose peak counts."""
    for group in found:
        valid = [record for record in group.records if peak_counts(record)]
        if valid:
            yield Group(cell=group.cell, place=group.place, records=valid, setting=group.setting)


def peak_counts(record: Record) -> bool:
    """Whether its peak may stand in a delta: measured, and its memory valid."""
    verdict = record.validity.get("memory")
    return record.status == "ok" and bool(_peak(record)) and verdict is not None and verdict.ok


def _peak(record: Record) -> int:
    return record.memory.allocated_peak_bytes or 0


def _delta(ours: Group, theirs: Group, differing: str) -> Delta:
    one, other = max(ours.records, key=_peak), max(theirs.records, key=_peak)
    return Delta(
        cell=one.cell,
        versus=other.cell,
        device=theirs.where,
        name=theirs.device,
        place=theirs.place,
        peak_bytes=_peak(one),
        versus_peak_bytes=_peak(other),
        kind=other.memory.kind,
        parts=_parts(one, other),
        replicates=min(len(ours.records), len(theirs.records)),
        peaks=tuple(map(_peak, ours.records)),
        versus_peaks=tuple(map(_peak, theirs.records)),
        differing=differing,
    )


def _parts(one: Record, other: Record) -> dict[str, int]:
    if not one.ledger or not other.ledger:
        return {}
    return {
        part: sum(
            other.ledger.get(f"{owner}_bytes", 0) - one.ledger.get(f"{owner}_bytes", 0)
            for owner in owners
        )
        for part, owners in PARTS.items()
    }
