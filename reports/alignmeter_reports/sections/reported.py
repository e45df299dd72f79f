"""What others reported, from `alignmeter import`: shown apart, in no comparison."""

__all__ = ["ReportedRow", "ReportedView", "reported_view"]

from collections.abc import Sequence
from dataclasses import dataclass

from alignmeter.records.reported import Reported, ReportedSet, Source

_MOST = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportedRow:
    """One result and the file that it stands in."""

    row: Reported
    source: Source


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportedView:
    """``sources``: by whom, each once. ``hidden``: rows that found no room."""

    sources: list[Source]
    rows: list[ReportedRow]
    hidden: int
    others: list[str]


def reported_view(sets: Sequence[ReportedSet]) -> ReportedView | None:
    """``None`` where nothing was imported. Rows are in the order of their files."""
    rows = [ReportedRow(row=row, source=one.sources[row.source]) for one in sets
            for row in one.rows if row.source < len(one.sources)]  # fmt: skip
    if not rows:
        return None
    by_title = {row.source.title: row.source for row in rows}
    shown = rows[:_MOST]
    return ReportedView(
        sources=list(by_title.values()),
        rows=shown,
        hidden=len(rows) - len(shown),
        others=list(dict.fromkeys(name for row in shown for name in row.row.others)),
    )
