"""Nights, and the last one: what changed since the night before, what is missing, what is invalid.

A night is what was measured together, on whatever machines and commits: sessions by the rule of
`likeness`, asked of all records at once.
"""

__all__ = ["LastNight", "Night", "last_night", "nights"]

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from alignmeter.analysis.compare import CellComparison, compare
from alignmeter.analysis.compare.words import effect_text, figure_text, interval_text
from alignmeter.analysis.likeness import Group, groups, sessions
from alignmeter.analysis.metrics import METRICS
from alignmeter.analysis.sides import side_of
from alignmeter.cells.cell import Cell
from alignmeter.cells.naming import Naming
from alignmeter.errors import InputError
from alignmeter.records.record import Record
from alignmeter.text import counted, plain

_CHANGED = ("regressed", "improved", "refused", "invalid")
_JUDGED = ("time", "memory", "energy")


@dataclass(frozen=True, kw_only=True, slots=True)
class Night:
    """What was measured together. ``name``: its date, with the hour where a date has two."""

    started: datetime
    name: str
    records: list[Record]


@dataclass(frozen=True, kw_only=True, slots=True)
class LastNight:
    """The last night versus the one before, a line for each cell in each list.

    ``differences``: what differs in all cells alike, such as the driver. ``failed``: tried, and
    not measured. ``missing``: measured the night before, and not tried. ``earlier``: how many cells
    were last measured before that.
    """

    name: str
    before: str
    scope: str
    differences: list[str]
    changed: list[str]
    missing: list[str]
    failed: list[str]
    invalid: list[str]
    earlier: int

    @property
    def lists(self) -> dict[str, list[str]]:
        """Heading -> lines, in the order in which they are told."""
        return {
            "changed": self.changed,
            "missing": self.missing,
            "not measured": self.failed,
            "invalid": self.invalid,
        }


def nights(records: Iterable[Record]) -> list[Night]:
    """In order of time. Records that do not say when they were made are in none."""
    found: dict[datetime, list[Record]] = {}
    for record, begun in sessions(records):
        found.setdefault(begun, []).append(record)
    dates = Counter(f"{begun:%Y-%m-%d}" for begun in found)
    return [
        Night(started=begun, name=_name(begun, dates), records=mine)
        for begun, mine in sorted(found.items())
    ]


def _name(begun: datetime, dates: Counter[str]) -> str:
    date = f"{begun:%Y-%m-%d}"
    return date if dates[date] == 1 else f"{begun:%Y-%m-%d %H:%M}"


def last_night(found: Sequence[Night]) -> LastNight | None:
    """``None`` where there are not two nights."""
    if len(found) < 2:
        return None
    last, before = found[-1], found[-2]
    now, then = groups(last.records), groups(before.records)
    tried = {_key(group) for group in now}
    measured_then = {_key(group) for group in then if group.ran}
    long_ago = _measured(record for night in found[:-2] for record in night.records)
    name = _names(found)
    differences, changed = _changes(before.records, last.records, now, name)
    return LastNight(
        name=last.name,
        before=before.name,
        scope=_scope(last, now),
        differences=differences,
        changed=changed,
        missing=[name(group) for group in then if group.ran and _key(group) not in tried],
        failed=[f"{name(group)}: {_why(group)}" for group in now if not group.ran],
        invalid=[line for group in now for line in _invalid(group, name)],
        earlier=len(long_ago - measured_then - tried),
    )


def _key(group: Group) -> tuple[object, ...]:
    """A cell on a kind of hardware; what a dead worker does not know of it is left out."""
    return group.alike, group.device


def _measured(records: Iterable[Record]) -> set[tuple[object, ...]]:
    """The same of records; cells that many of them share are looked at once."""
    known: dict[Cell, object] = {}
    found: set[tuple[object, ...]] = set()
    for record in records:
        if record.status == "ok":
            if record.cell not in known:
                known[record.cell] = record.cell.without()
            found.add((known[record.cell], record.provenance.device))
    return found


_Name = Callable[[Group], str]


def _names(found: Sequence[Night]) -> _Name:
    """What each cell is called among those of all nights, and its device."""
    names = Naming({record.cell for night in found for record in night.records})

    def name(group: Group) -> str:
        return plain(f"{names.of(group.cell)} on {group.device or 'an unknown device'}")

    return name


def _scope(night: Night, found: Sequence[Group]) -> str:
    cells = counted(len(found), "cell")
    counts = Counter(record.status for record in night.records)
    said = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    return f"{cells}, replicates: {said}"


def _why(group: Group) -> str:
    """The statuses with their codes, and the first text."""
    codes = Counter(r.reason.code if r.reason else r.status for r in group.records)
    text = next((r.reason.text for r in group.records if r.reason), "")
    said = ", ".join(f"{code} in {count} of {len(group.records)}" for code, count in codes.items())
    return plain(f"{said} replicates" + (f": {text}" if text else ""))


def _invalid(group: Group, name: _Name) -> Iterable[str]:
    """A line for the metrics of which replicates' figures are invalid for the same reasons."""
    said: dict[str, list[str]] = {}
    for metric in (METRICS[judged] for judged in _JUDGED):
        side = side_of(group, metric)
        if side.invalid_values:
            said.setdefault(side.invalid_text, []).append(metric.title)
    for why, titles in said.items():
        yield plain(f"{name(group)}: {' and '.join(titles)}, {why}")


def _changes(
    before: Sequence[Record], last: Sequence[Record], now: Iterable[Group], name: _Name
) -> tuple[list[str], list[str]]:
    """What differs in all cells, and the verdicts that are news, the worst first."""
    try:
        comparison = compare(before, last)
    except InputError:
        return [], ["no cell is like one of the night before"]
    names = {(group.cell.id, group.device): name(group) for group in now}
    changed = [
        f"{names.get((row.cell_id, row.device), plain(row.cell_id))}: {_verdict(row)}"
        for row in comparison.rows
        if row.verdict in _CHANGED and (row.verdict != "invalid" or row.metric == "numerics")
    ]
    return [plain(text) for text in comparison.differences], changed


def _verdict(row: CellComparison) -> str:
    """``step time regressed +8.0 % [+7.1, +8.9], 200 ms -> 216 ms``."""
    title = METRICS[row.metric].title if row.metric in METRICS else row.metric
    said = " ".join(t for t in (title, row.verdict, effect_text(row), interval_text(row)) if t)
    if row.base is None or row.new is None:
        return plain(f"{said}: {row.reason}" if row.reason else said)
    figures = f"{figure_text(row.base, row.metric)} -> {figure_text(row.new, row.metric)}"
    return plain(f"{said}, {figures}")
