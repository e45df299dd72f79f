"""Nights: what was measured together, on whatever machines and commits.

Sessions by the rule of `likeness`, asked of all records at once.
"""

__all__ = ["Night", "nights"]

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from alignmeter.analysis.likeness import sessions
from alignmeter.records.record import Record


@dataclass(frozen=True, kw_only=True, slots=True)
class Night:
    """What was measured together. ``name``: its date, with the hour where a date has two."""

    started: datetime
    name: str
    records: list[Record]


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
