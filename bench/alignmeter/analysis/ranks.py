"""What the ranks of a step say together: how even they are, and what several devices bring."""

__all__ = ["Efficiency", "Spread", "efficiencies", "spread_of"]

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from alignmeter.analysis.intervals import Estimate
from alignmeter.analysis.likeness import Group, current
from alignmeter.analysis.metrics import METRICS
from alignmeter.analysis.sides import ratio_of
from alignmeter.cells.cell import Cell
from alignmeter.records.ranks import Rank
from alignmeter.records.record import Record

_TIME, _MEMORY = METRICS["time"], METRICS["memory"]
_OF_RANKS = ("world_size", "parallel", "rollout_weights")
"""Axes in which a step of several devices differs from the same step of one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """``rank`` has the most of something: so many ``percent`` more than the ranks' mean."""

    rank: int
    percent: float


def spread_of(record: Record, figure: Callable[[Rank], float | None]) -> Spread | None:
    """Of ``figure`` over the record's ranks; ``None`` where one has none, and of one device.

    Of several with the most it is the first.
    """
    figures = [figure(rank) for rank in record.ranks]
    known = [value for value in figures if value is not None]
    if not known or len(known) < len(figures) or not statistics.fmean(known):
        return None
    most = max(known)
    percent = 100 * (most / statistics.fmean(known) - 1)
    return Spread(rank=record.ranks[known.index(most)].rank, percent=percent)


@dataclass(frozen=True, kw_only=True, slots=True)
class Efficiency:
    """A step of ``group``'s devices against the same step, same batch, of one: ``base``.

    ``speedup``: time of one device over that of W; ``share``: that over W, 1 is ideal; ``None``
    where a time is invalid, and ``reason`` says why. ``peak``: a rank's peak over one device's.
    """

    base: Group
    group: Group
    speedup: Estimate | None
    reason: str
    peak: Estimate | None

    @property
    def cell(self) -> Cell:
        """That of several devices."""
        return self.group.cell

    @property
    def share(self) -> Estimate | None:
        """Speed of each device, of what it has alone."""
        if self.speedup is None:
            return None
        return _times(self.speedup, 1 / self.cell.world_size)


def efficiencies(found: Iterable[Group]) -> list[Efficiency]:
    """Every newest cell of several devices with the like one of one, of one commit and session, on
    a device of the same kind. Threads are no part of that: processes share a host's.
    """
    families: dict[tuple[object, ...], list[Group]] = defaultdict(list)
    for group in current(found):
        if group.ran:
            families[group.cell.without(*_OF_RANKS), *_where(group)].append(group)
    rows = [row for family in families.values() for row in _of(family)]
    return sorted(rows, key=lambda row: (row.group.where, row.cell.id))


def _where(group: Group) -> tuple[object, ...]:
    place = group.place
    hardware = place.device, place.form_factor, place.partition, place.power_cap_w
    return *hardware, place.commit, place.session


def _of(family: Sequence[Group]) -> Iterator[Efficiency]:
    alone = [group for group in family if group.cell.world_size == 1]
    for group in family:
        for base in alone if group.cell.world_size > 1 else ():
            # Over the other way round: a factor of speed.
            speedup, reason = ratio_of(group, base, _TIME)
            peak, _ = ratio_of(base, group, _MEMORY)
            yield Efficiency(base=base, group=group, speedup=speedup, reason=reason, peak=peak)


def _times(found: Estimate, factor: float) -> Estimate:
    low, high = (None if bound is None else bound * factor for bound in (found.low, found.high))
    return Estimate(value=found.value * factor, low=low, high=high, n=found.n)
