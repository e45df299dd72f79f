"""The nights of a site: what each has measured, and what differs from the night before it."""

__all__ = ["NightRow", "night_rows"]

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from alignmeter.records.record import Provenance
from alignmeter.text import counted, shortened
from alignmeter_reports.site.cells import Tried

_COMMIT = 12
_LONGEST = 80
_MOST_DIFFERENCES = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class NightRow:
    """One night. ``page``: its link, empty where it has none. ``invalid``: cells with a time or
    peak that is. ``missing``: cells that the night before measured and this one did not try.
    ``differs``: in the software since the night before, in words.
    """

    name: str
    page: str
    cells: int
    statuses: str
    invalid: int
    missing: list[str]
    devices: list[str]
    commits: list[str]
    differs: list[str]


def night_rows(tried: Sequence[Tried], pages: Mapping[str, str]) -> list[NightRow]:
    """The newest first."""
    rows: list[NightRow] = []
    before: Tried | None = None
    for one in tried:
        rows.append(_row(one, before, pages.get(one[0].name, "")))
        before = one
    return rows[::-1]


def _row(one: Tried, before: Tried | None, page: str) -> NightRow:
    night, rows = one
    places = [record.provenance for record in night.records]
    statuses = Counter(record.status for record in night.records)
    return NightRow(
        name=night.name,
        page=page,
        cells=len(rows),
        statuses=", ".join(f"{count} {status}" for status, count in sorted(statuses.items())),
        invalid=sum(bool({"time", "memory"} & set(found.row.invalid)) for _, found in rows),
        missing=[] if before is None else _missing(one, before),
        devices=_known(place.device for place in places),
        commits=[commit[:_COMMIT] for commit in _known(place.commit for place in places)],
        differs=[] if before is None else _differences(before, places),
    )


def _missing(one: Tried, before: Tried) -> list[str]:
    tried = {(group.alike, group.place.hardware) for group, _ in one[1]}
    return [
        found.row.name
        for group, found in before[1]
        if group.ran and (group.alike, group.place.hardware) not in tried
    ]


def _differences(before: Tried, places: Sequence[Provenance]) -> list[str]:
    """``driver 570 -> 575``, for every device that both nights know."""
    then = [record.provenance for record in before[0].records]
    found: dict[str, None] = {}
    for device in _known(place.device for place in places):
        old, new = _software(then, device), _software(places, device)
        for name in [*new, *(name for name in old if name not in new)] if old else ():
            if old.get(name) != new.get(name):
                said = f"{name} {old.get(name, 'none')} -> {new.get(name, 'none')}"
                found[shortened(said, _LONGEST)] = None
    listed = list(found)
    more = len(listed) - _MOST_DIFFERENCES
    return listed if more <= 0 else [*listed[:_MOST_DIFFERENCES], f"{counted(more, 'other')}"]


def _software(places: Sequence[Provenance], device: str) -> dict[str, str]:
    """Of the first record of that device; a night has one environment a device."""
    place = next((place for place in places if place.device == device), None)
    if place is None:
        return {}
    said = {"driver": place.driver, "runtime": place.runtime, **place.versions}
    return {name: text for name, text in said.items() if text}


def _known(texts: Iterable[str | None]) -> list[str]:
    return [shortened(text, _LONGEST) for text in dict.fromkeys(texts) if text]
