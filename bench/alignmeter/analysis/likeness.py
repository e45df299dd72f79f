"""What makes records alike: which are replicates of each other, and which stand side by side.

Everything that puts records together asks here: delta, scaling, claims, comparisons, history,
reports and terminal. Two rules:

Replicates are alike in cell and `Place`: the hardware, the software and the session. Which card of
a kind a job got, and on which host, is a matter of the queue and makes no difference. Commits and
nights are never pooled.

A **session** is what was measured together. Records that name the same run belong to one. Else
they do while no more than `GAP_H` hours lie between one and the next, and `SPAN_H` between the
first and the last; a record whose run began in a session stays in it.
"""

__all__ = [
    "ANYWHERE", "GAP_H", "SPAN_H", "UNKNOWN", "Group", "Place", "current", "groups", "moment",
    "newest_first", "place_at", "place_of", "sessions", "time_of",
]  # fmt: skip

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from alignmeter.analysis.distinctions import distinctions
from alignmeter.cells.cell import Alike, Cell
from alignmeter.records.record import Provenance, Record

GAP_H, SPAN_H = 6, 12
"""Hours. A night's run waits for no record so long, and starts anew at the same hour."""
UNKNOWN = datetime.min.replace(tzinfo=UTC)
"""When a record was made that does not say so in a way one can read."""


class Place(NamedTuple):
    """What a figure is bound to beside its cell. ``None``: not known, e.g. of a worker that died.

    ``threads``: of a CPU. ``environment``: digest of versions, driver and variables.
    ``session``: when its first record was made.
    """

    device: str | None
    form_factor: str | None
    partition: str | None
    power_cap_w: int | None
    threads: int | None
    environment: str | None
    commit: str | None
    session: datetime | None

    @property
    def hardware(self) -> tuple[object, ...]:
        """What does not change with the software."""
        return self[:5]

    @property
    def setting(self) -> tuple[object, ...]:
        """Hardware and environment: cells are held against each other within one."""
        return self[:6]

    @property
    def time(self) -> tuple[object, ...]:
        """Environment, commit and session: one night's."""
        return self[5:]

    def accords(self, other: "Place") -> bool:
        """Whether nothing that both know differs."""
        return all(a == b or a is None or b is None for a, b in zip(self, other, strict=True))

    def joined(self, other: "Place") -> "Place":
        """What either knows."""
        return Place._make(b if a is None else a for a, b in zip(self, other, strict=True))


ANYWHERE = Place(None, None, None, None, None, None, None, None)
"""Of records that were put together by other means."""


@dataclass(kw_only=True, eq=False)
class Group:
    """The replicates of one cell in one place.

    ``alike``: equal in groups of one cell. Ids name cells for people; what a record says of its id
    decides nothing. ``setting``: what tells it apart from others on a device of that name, in
    words. ``sides``: kept by `sides.side_of`, by metric. Nothing is asked before the last replicate
    is there.
    """

    cell: Cell
    place: Place
    records: list[Record] = field(default_factory=list)
    setting: str = ""
    alike: Alike = field(init=False, repr=False)
    sides: dict[Hashable, Any] = field(default_factory=dict, repr=False)
    _latest: datetime | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.alike = self.cell.without()

    @property
    def device(self) -> str:
        """Name of the device; empty where no replicate tells it."""
        return self.place.device or ""

    @property
    def where(self) -> str:
        """The device with what tells this setting of it from the others that were found."""
        return f"{self.device} ({self.setting})" if self.setting else self.device

    @property
    def latest(self) -> datetime:
        """When its newest replicate was made."""
        if self._latest is None:
            self._latest = max(map(moment, self.records))
        return self._latest

    @property
    def ran(self) -> bool:
        """Whether any replicate was measured."""
        return any(record.status == "ok" for record in self.records)


def moment(record: Record) -> datetime:
    """When it was made, in UTC; `UNKNOWN` if it does not say so in a way one can read."""
    return time_of(record.provenance.started)


@lru_cache(2**17)  # every order of a report asks for it, of every record
def time_of(started: str) -> datetime:
    """The same of the text in its provenance."""
    try:
        found = datetime.fromisoformat(started)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return UNKNOWN


def groups(records: Iterable[Record]) -> list[Group]:
    """Records with their replicates, in order of cell id, place and time.

    A record that does not know all of its place belongs to the newest group that it accords with.
    Equal records in any order give equal groups.
    """
    listed = sorted(records, key=_order)
    exact: dict[tuple[Cell, Place], Group] = {}
    by_cell: dict[Alike, _Known] = defaultdict(_Known)
    keyed = [(record, place_of(record, found)) for record, found in _with_sessions(listed)]
    # Those that know most come first, so that the others find their group.
    for record, place in sorted(keyed, key=lambda pair: pair[1].count(None)):
        key = record.cell, place
        if key not in exact:
            exact[key] = by_cell[record.cell.without()].group_for(record.cell, place)
        exact[key].records.append(record)
    found = [group for known in by_cell.values() for group in known.groups]
    for group in found:
        group.records.sort(key=_order)
    _tell_apart(found)
    return sorted(found, key=lambda group: (group.cell.id, _sortable(group.place)))


def _tell_apart(found: Iterable[Group]) -> None:
    """Give the groups of one device the words that its settings differ in: tables show them as
    rows side by side.
    """
    by_device: dict[str | None, list[Group]] = defaultdict(list)
    for group in found:
        by_device[group.place.device].append(group)
    for alike in by_device.values():
        said = [group.records[0].provenance for group in alike]
        texts = distinctions([group.place for group in alike], said)
        for group, text in zip(alike, texts, strict=True):
            group.setting = text


class _Known:
    """The groups of one cell, found by when they were measured: a year has many nights."""

    def __init__(self) -> None:
        self.groups: list[Group] = []
        self._by_time: dict[tuple[object, ...], list[Group]] = defaultdict(list)

    def group_for(self, cell: Cell, place: Place) -> Group:
        """The newest group that ``place`` accords with, or a new one."""
        among = self.groups
        if None not in place.time:
            among = [*self._by_time[place.time], *self._by_time[_SOME_TIME]]
        accordant = [group for group in among if group.place.accords(place)]
        if accordant:
            group = max(accordant, key=lambda group: group.place.session or UNKNOWN)
            group.place = group.place.joined(place)
            return group
        group = Group(cell=cell, place=place)
        self.groups.append(group)
        self._by_time[_SOME_TIME if None in place.time else place.time].append(group)
        return group


_SOME_TIME = ("not known",)


def _order(record: Record) -> tuple[object, ...]:
    place = record.provenance
    return record.cell.id, record.replicate, moment(record), record.seed, place.device, place.host


def _sortable(place: Place) -> tuple[str, ...]:
    return tuple("" if value is None else f"{value}".lower() for value in place)


def place_of(record: Record, session: datetime | None = None) -> Place:
    """What its figures are bound to; ``session``: when its own began, which it cannot say alone."""
    return place_at(record.provenance, session)


def place_at(said: Provenance, session: datetime | None = None) -> Place:
    """What figures are bound to that were measured there."""
    return Place(
        device=said.device or None,
        form_factor=said.form_factor,
        partition=said.partition,
        power_cap_w=None if said.power_cap_w is None else round(said.power_cap_w),
        threads=said.threads,
        environment=said.environment_digest or None,
        commit=said.commit,
        session=session,
    )


def _with_sessions(records: Sequence[Record]) -> Iterable[tuple[Record, datetime | None]]:
    """Each record and when its session began; ``None`` of one that does not say when it was made.

    Sessions are those of one commit in one environment: other machines' work is no part of them.
    """
    found: dict[tuple[str, str | None], list[tuple[datetime, Record]]] = defaultdict(list)
    for record in records:
        said, when = record.provenance, moment(record)
        if when == UNKNOWN:
            yield record, None
        else:
            found[said.environment_digest, said.commit].append((when, record))
    for listed in found.values():
        yield from _sessions(sorted(listed, key=lambda pair: pair[0]))


def sessions(records: Iterable[Record]) -> Iterable[tuple[Record, datetime]]:
    """Each record that says when it was made, with when its session began, in order of time.

    By the same rule, but of all commits, environments and machines together: a lab's nights.
    """
    timed = [(when, record) for record in records if (when := moment(record)) != UNKNOWN]
    return _sessions(sorted(timed, key=lambda pair: pair[0])) if timed else ()


def _sessions(listed: Sequence[tuple[datetime, Record]]) -> Iterable[tuple[Record, datetime]]:
    gap, span = timedelta(hours=GAP_H), timedelta(hours=SPAN_H)
    of_run: dict[str, datetime] = {}
    first = last = listed[0][0]
    for when, record in listed:
        run = record.provenance.run
        begun = of_run.get(run) if run else None
        if begun is None and (when - last > gap or when - first > span):
            first = when
        begun = first if begun is None else begun
        if run:
            of_run.setdefault(run, begun)
        if begun == first:
            last = when
        yield record, begun


def newest_first(found: Iterable[Group]) -> list[Group]:
    """In order of time, the newest first; of equals in order of cell id and place."""
    by_time: dict[datetime, list[Group]] = defaultdict(list)
    for group in found:
        by_time[group.latest].append(group)
    for alike in by_time.values():
        if len(alike) > 1:
            alike.sort(key=lambda group: (group.cell.id, _sortable(group.place)))
    return [group for when in sorted(by_time, reverse=True) for group in by_time[when]]


def current(found: Iterable[Group]) -> list[Group]:
    """The newest group of each cell in each setting, in their order.

    Earlier commits and nights are history's. Hardware and environments stand side by side.
    """
    listed = list(found)
    newest: dict[tuple[object, ...], Group] = {}
    for group in newest_first(listed):
        newest.setdefault((group.alike, *group.place.setting), group)
    kept = set(map(id, newest.values()))
    return [group for group in listed if id(group) in kept]
