"""The nights of a cell: one row a night on each kind of hardware, and what changed among them."""

__all__ = ["CellHistory", "CellNight", "HardwareHistory", "histories"]

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from alignmeter.analysis.history import ChangePoint, change_points, series
from alignmeter.analysis.history.words import differences_text
from alignmeter.analysis.likeness import Group, Place
from alignmeter.analysis.metrics import METRICS
from alignmeter.analysis.nights import Night
from alignmeter.cells.cell import Cell
from alignmeter.cells.naming import Naming
from alignmeter.text import counted, plain
from alignmeter_reports.cells import CellRow
from alignmeter_reports.sections.changes import TOLD, change_text

_LONGEST_STEM = 100
_LEAST_NIGHTS = 3
"""Below that no change is told from noise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CellNight:
    """One night of a cell. ``page``: link to that night's page, empty where it has none."""

    night: str
    row: CellRow
    page: str


@dataclass(frozen=True, kw_only=True, slots=True)
class HardwareHistory:
    """A cell's nights on one kind of hardware, in order of time. ``changes``: in words, the newest
    first, and of one night step time before all else; ``changed``: nights from which the step time
    is another.
    """

    name: str
    nights: list[CellNight]
    changes: list[str]
    changed: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class CellHistory:
    """``stem``: of its file. ``latest``: its newest row, with the link to that night."""

    stem: str
    cell: Cell
    name: str
    hardware: list[HardwareHistory]

    @property
    def latest(self) -> CellNight:
        """Of the hardware that was measured last."""
        return max((one.nights[-1] for one in self.hardware), key=lambda one: one.row.started)

    @property
    def nights(self) -> int:
        """In how many nights it was tried."""
        return len({one.night for part in self.hardware for one in part.nights})


Tried = tuple[Night, list[tuple[Group, CellNight]]]


def histories(tried: Sequence[Tried], stems: Mapping[object, str]) -> list[CellHistory]:
    """One per cell, in the order of ``stems``: what a cell is alike in -> the stem of its file."""
    found: dict[object, dict[tuple[object, ...], list[CellNight]]] = defaultdict(dict)
    groups: dict[object, Group] = {}
    words: dict[tuple[object, ...], str] = {}
    for _, rows in tried:
        for group, one in rows:
            groups[group.alike] = group
            words[group.place.hardware] = _hardware_text(group.place)
            found[group.alike].setdefault(group.place.hardware, []).append(one)
    changes = _changes(tried)
    names = Naming(group.cell for group in groups.values())
    return [
        CellHistory(
            stem=stem,
            cell=groups[alike].cell,
            name=names.of(groups[alike].cell),
            hardware=[
                _hardware(words[place], mine, changes) for place, mine in found[alike].items()
            ],
        )
        for alike, stem in stems.items()
    ]


def file_stem(cell_id: str, taken: Mapping[object, str]) -> str:
    """A name for its file that a link can hold, and that no other cell has."""
    name = re.sub(r"[^A-Za-z0-9.-]", "_", cell_id[:_LONGEST_STEM])
    used, number, stem = set(taken.values()), 1, name
    while stem in used:
        number += 1
        stem = f"{name}_{number}"
    return stem


def _hardware(
    name: str, mine: list[CellNight], changes: Mapping[tuple[str, str], list[ChangePoint]]
) -> HardwareHistory:
    last = mine[-1].row
    found = changes.get((last.cell.id, last.place.device), [])
    return HardwareHistory(
        name=name,
        nights=mine,
        changes=[_change_text(change) for change in sorted(found, key=_newest_first)],
        changed=[change.run for change in found if change.metric == "time"],
    )


def _newest_first(change: ChangePoint) -> tuple[float, int]:
    return -datetime.fromisoformat(change.started).timestamp(), [*METRICS].index(change.metric)


def _hardware_text(place: Place) -> str:
    cap = None if place.power_cap_w is None else f"cap {place.power_cap_w} W"
    threads = None if place.threads is None else counted(place.threads, "thread")
    said = (place.device, place.form_factor, place.partition, cap, threads)
    return plain(", ".join(part for part in said if part) or "a device that is not known")


def _changes(tried: Sequence[Tried]) -> dict[tuple[str, str], list[ChangePoint]]:
    """(Cell id, device) -> its change points over the nights, in order of time."""
    if len(tried) < _LEAST_NIGHTS:
        return {}
    lines = series(((night.name, record) for night, _ in tried for record in night.records), TOLD)
    found: dict[tuple[str, str], list[ChangePoint]] = defaultdict(list)
    for change in change_points(lines):
        found[change.cell_id, change.node.device].append(change)
    return found


def _change_text(change: ChangePoint) -> str:
    """``2026-03-09: step time +8.0 % [+7.2, +8.8], 200 ms to 216 ms; commit a -> b``."""
    return "; ".join([f"{change.run}: {change_text(change)}", *differences_text(change)])
