"""The morning after a night: what is news in it, versus the last good run of each kind of node."""

__all__ = ["Morning", "Shift", "before", "markdown", "morning_of"]

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from alignmeter.analysis import history as histories
from alignmeter.analysis.history import Series
from alignmeter.analysis.last_good import last_good
from alignmeter.analysis.likeness import UNKNOWN, moment, place_of, time_of
from alignmeter.analysis.nights import LastNight, Night, last_night, nights
from alignmeter.errors import InputError
from alignmeter.lab.drive import Ending
from alignmeter.records.record import Record
from alignmeter.records.temporary import temporarily_invalid
from alignmeter.text import counted, plain

_RECENT = timedelta(days=7)
"""A shift is found when three runs have the new level; then it is told for some days."""
_VERSION = 1


class Shift(msgspec.Struct, frozen=True, kw_only=True):
    """A metric that moved to another level. ``since``: the run that has it first."""

    cell: str
    metric: str
    node: str
    since: str
    effect_percent: float
    verdict: str


class Morning(msgspec.Struct, frozen=True, kw_only=True):
    """Lines for people, a list for each kind of news.

    ``changed``: verdicts versus the last good run. ``failed``: tried, and not measured;
    ``invalid``: also after second tries. ``refused``: nodes that failed a check;
    ``not_reached``: replicates without a record, by class. ``shifts``: of the last days, which are
    no news of this night. ``differences``: what differs in all cells alike, such as the driver.
    """

    night: str
    scope: str
    changed: list[str] = []
    failed: list[str] = []
    invalid: list[str] = []
    refused: list[str] = []
    not_reached: list[str] = []
    differences: list[str] = []
    shifts: list[Shift] = []
    schema_version: int = _VERSION

    @property
    def lists(self) -> dict[str, list[str]]:
        """Heading -> lines that are news."""
        return {
            "changed": self.changed,
            "not measured": self.failed,
            "invalid": self.invalid,
            "nodes refused": self.refused,
            "not reached": self.not_reached,
        }

    @property
    def quiet(self) -> bool:
        """Whether there is no news."""
        return not any(self.lists.values())


def morning_of(
    records: Sequence[Record], found: Sequence[Series], night: str, replicates: int, ending: Ending
) -> Morning:
    """The news of ``night`` among ``records``, those of all nights or what `before` gives of them.

    ``found``: the series of all nights. ``replicates``: of each cell, so that second tries are
    known as such.
    """
    standing = _standing(records, replicates)
    mine = [record for record in standing if record.provenance.run == night]
    versus = _versus_good(standing, mine)
    left = [
        f"{name}: {counted(len(keys), 'replicate')}{f' ({ending.why})' if ending.why else ''}"
        for name, keys in ending.not_reached.items()
        if keys
    ]
    failed = [f"{key}: {text}" for key, text in ending.failed.items()]
    return Morning(
        night=night,
        scope=versus.scope if versus else "nothing was measured",
        changed=versus.changed if versus else [],
        failed=[*(versus.failed if versus else []), *map(plain, failed)],
        invalid=versus.invalid if versus else [],
        refused=list(map(plain, ending.refusals)),
        not_reached=left,
        differences=versus.differences if versus else [],
        shifts=_shifts(found, mine),
    )


def before(
    found: Sequence[Series], mine: Sequence[Record], night: str,
    read: Callable[[str], Sequence[Record]], replicates: int,
) -> list[Record]:  # fmt: skip
    """Records of as many nights before as it takes to know the last good run of each kind of node.

    ``mine``: of ``night``. ``read``: the records of a night, by the name of its folder.
    """
    latest: dict[str, str] = {}
    for one in found:
        for point in one.points:
            name = point.run.partition("/")[0]
            latest[name] = max(latest.get(name, ""), point.started)
    records: list[Record] = []
    for name in sorted(latest, key=latest.__getitem__, reverse=True):
        if name == night:
            continue
        if _settled(_standing(records, replicates), mine, latest[name]):
            break
        records += read(name)
    return records


def _settled(others: Sequence[Record], mine: Sequence[Record], since: str) -> bool:
    """Whether no run that began at ``since`` or before can be the last good one of a kind."""
    begun: dict[object, datetime] = {}
    for record in _good(others, mine):
        kind = place_of(record).hardware
        begun[kind] = min(begun.get(kind, moment(record)), moment(record))
    kinds = {place_of(record).hardware for record in mine}
    return begun.keys() >= kinds and min(begun.values(), default=UNKNOWN) >= time_of(since)


def _standing(records: Iterable[Record], replicates: int) -> list[Record]:
    """Without those in the place of which a second try stands."""
    every = list(records)
    tried = {_place(record, record.replicate - replicates) for record in every}
    return [
        record
        for record in every
        if _place(record, record.replicate) not in tried or not temporarily_invalid(record)
    ]


def _place(record: Record, replicate: int) -> tuple[str, str, int]:
    return record.provenance.run, record.cell.id, replicate


def _versus_good(standing: Sequence[Record], mine: Sequence[Record]) -> LastNight | None:
    """``None`` where the night has no record that says when it was made."""
    last = nights(mine)
    if not last:
        return None
    own = set(map(id, mine))
    good = _good([record for record in standing if id(record) not in own], mine)
    whole = Night(started=last[0].started, name=last[0].name, records=list(mine))
    found = last_night([Night(started=whole.started, name="last good", records=good), whole])
    return _without_changes(found) if found is not None and not good else found


def _good(others: Sequence[Record], mine: Sequence[Record]) -> list[Record]:
    """Of the last good run of each kind of node; none of a first night, or if none was good."""
    ordered = sorted(others, key=lambda record: record.provenance.run)
    try:
        return last_good(((r.provenance.run, r) for r in ordered), mine).records
    except InputError:
        return []


def _without_changes(found: LastNight) -> LastNight:
    """Of a first night: that there is nothing to compare with is no change."""
    return LastNight(
        name=found.name, before=found.before, scope=found.scope, differences=[], changed=[],
        missing=[], failed=found.failed, invalid=found.invalid, earlier=found.earlier,
    )  # fmt: skip


def _shifts(found: Sequence[Series], mine: Sequence[Record]) -> list[Shift]:
    """Change points of the last days, over all runs."""
    if not mine:
        return []
    since = (max(map(moment, mine)) - _RECENT).isoformat()
    changes = histories.history(found).changes
    return [
        Shift(
            cell=plain(change.cell_id),
            metric=change.metric,
            node=plain(change.node.name),
            since=plain(change.run),
            effect_percent=change.effect_percent,
            verdict=change.verdict,
        )
        for change in changes
        if change.started >= since
    ]


def markdown(found: Morning) -> str:
    """A summary that a chat or a job's page shows."""
    lines = [f"# Night {found.night}", "", found.scope]
    lines += [f"- differs in all cells: {_escaped(text)}" for text in found.differences]
    for title, texts in found.lists.items():
        if texts:
            lines += ["", f"## {title.capitalize()}: {len(texts)}", ""]
            lines += [f"- {_escaped(text)}" for text in texts]
    if found.shifts:
        lines += ["", "## Moved to another level in the last days", ""]
        lines += [
            f"- {_escaped(s.cell)} on {_escaped(s.node)}: {s.metric} {s.verdict} "
            f"{s.effect_percent:+.1f} % since {_escaped(s.since)}"
            for s in found.shifts
        ]
    if found.quiet:
        lines += ["", "No news."]
    return "\n".join([*lines, ""])


def _escaped(text: str) -> str:
    """Records are untrusted: what they say is no markup."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>#|!&" else c for c in text)
