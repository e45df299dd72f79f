"""Last night: what changed, what is missing, what was not measured, what is invalid."""

__all__ = ["NightsView", "nights_view"]

from collections.abc import Sequence
from dataclasses import dataclass

from alignmeter.analysis.nights import LastNight, Night, last_night
from alignmeter_reports.sections.changes import ChangesView

_MOST_STANDING = 5
_MOST_LINES = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class NightsView:
    """``count``: nights in the report. ``standing``: the newest changes of level in words, those of
    one cell at one time together; ``more``: how many there are beside them. ``most``: lines that a
    list shows.
    """

    count: int
    last: LastNight
    standing: list[str]
    more: int
    most: int


def nights_view(nights: Sequence[Night], changes: ChangesView | None) -> NightsView | None:
    """``None`` where there are not two nights."""
    last = last_night(nights)
    if last is None:
        return None
    listed = changes.changes if changes else []
    together: dict[str, list[str]] = {}
    for change in listed:
        head = f"since {change.change.started[:10]}: {change.what}"
        together.setdefault(head, []).append(f"{change.change.verdict}, {change.text}")
    standing = [f"{head}: {'; '.join(texts)}" for head, texts in together.items()]
    return NightsView(
        count=len(nights),
        last=last,
        standing=standing[:_MOST_STANDING],
        more=max(0, len(standing) - _MOST_STANDING) + (changes.hidden if changes else 0),
        most=_MOST_LINES,
    )
