"""Steps of several devices: what each rank held and took, and what they bring over one device."""

__all__ = ["EfficiencyRow", "RankRow", "RanksView", "ranks_view"]

from collections.abc import Sequence
from dataclasses import dataclass

from alignmeter.analysis.intervals import Estimate
from alignmeter.analysis.likeness import Group, current
from alignmeter.analysis.ranks import Spread, efficiencies, spread_of
from alignmeter.cells.labels import cell_text
from alignmeter.records.ranks import Communication, Rank
from alignmeter.records.record import Record

_MOST = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class RankRow:
    """One cell on one kind of device, by the replicate with the largest peak, or a failed one.

    ``peak``, ``time``: which rank has the most, and how far it is above the mean of all.
    ``invalid``: metrics whose figures are.
    """

    cell: str
    device: str
    replicate: int
    ranks: list[Rank]
    peak: Spread | None
    time: Spread | None
    communication: Communication | None
    failed_rank: int | None
    invalid: frozenset[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class EfficiencyRow:
    """Several devices against one: as `alignmeter.analysis.ranks.Efficiency`."""

    cell: str
    device: str
    world_size: int
    speedup: Estimate | None
    share: Estimate | None
    reason: str
    peak: Estimate | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RanksView:
    """``hidden``: cells that found no room."""

    rows: list[RankRow]
    gains: list[EfficiencyRow]
    hidden: int


def ranks_view(cells: Sequence[Group]) -> RanksView:
    """Of the newest of each cell of several devices."""
    rows = [_row(group) for group in current(cells) if any(r.ranks for r in group.records)]
    gains = [
        EfficiencyRow(
            cell=cell_text(row.cell),
            device=row.group.where,
            world_size=row.cell.world_size,
            speedup=row.speedup,
            share=row.share,
            reason=row.reason,
            peak=row.peak,
        )
        for row in efficiencies(cells)
    ]
    return RanksView(rows=rows[:_MOST], gains=gains[:_MOST], hidden=max(0, len(rows) - _MOST))


def _row(group: Group) -> RankRow:
    record = max((r for r in group.records if r.ranks), key=_rank)
    return RankRow(
        cell=cell_text(group.cell),
        device=group.where,
        replicate=record.replicate,
        ranks=list(record.ranks),
        peak=spread_of(record, lambda rank: rank.peak_bytes),
        time=spread_of(record, lambda rank: rank.median_s),
        communication=record.communication,
        failed_rank=record.failed_rank,
        invalid=frozenset(name for name, verdict in record.validity.items() if not verdict.ok),
    )


def _rank(record: Record) -> tuple[bool, int]:
    """What was measured comes before what failed."""
    return record.status == "ok", record.memory.allocated_peak_bytes or 0
