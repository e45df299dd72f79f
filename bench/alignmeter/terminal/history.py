"""A history: in order of time, what changed at one run together."""

__all__ = ["history_parts"]

from collections.abc import Iterable, Iterator, Sequence

from alignmeter.analysis.compare.result import CellComparison, Figure
from alignmeter.analysis.compare.words import effect_text, figure_text, interval_text
from alignmeter.analysis.history.result import ChangePoint, History, Level, NodeDifference
from alignmeter.analysis.history.words import (
    absences_text,
    differences_text,
    head_text,
    node_text,
    notes_text,
    others_text,
    scope_text,
    summary_text,
)
from alignmeter.terminal.tables import Column, Grid, Paragraph, Part, Row, figure, label
from alignmeter.text import plain

_COLUMNS = (label("metric"), figure("before"), figure("after"), figure("change"),
            figure("95 % interval, %"), figure("runs"), Column("verdict"))  # fmt: skip
_STYLES = {"regressed": "red", "improved": "green"}
_Change = tuple[CellComparison, Level, Level, str]
"""A change as `alignmeter compare` puts it, both levels and the verdict."""


def history_parts(history: History) -> Iterator[Part]:
    """Changes, then nodes that differ; one sentence where nothing changed."""
    several = len(history.nodes) > 1
    events: dict[tuple[str, ...], list[ChangePoint]] = {}
    for change in history.changes:
        key = (head_text(change, several=True), scope_text(change, several=several),
               *differences_text(change))  # fmt: skip
        events.setdefault(key, []).append(change)
    yield Paragraph(summary_text(history), "" if history.changes else "green", hang=2)
    for changes in events.values():
        yield Paragraph("")
        yield from _event(changes, several=several)
    if history.node_differences:
        yield Paragraph("")
        yield from _nodes(history.node_differences)
    absences = list(absences_text(history))
    if absences:
        yield Paragraph("")
    for text in absences:
        yield Paragraph(text, "yellow", hang=2)
    notes = list(notes_text(history))
    if notes:
        yield Paragraph("")
    for text in notes:
        yield Paragraph(text, "dim", hang=2)


def _event(changes: Sequence[ChangePoint], *, several: bool) -> Iterator[Part]:
    first = changes[0]
    yield Paragraph(head_text(first, several=several), "bold", hang=2)
    for text in (*differences_text(first), scope_text(first, several=several)):
        if text:
            yield Paragraph(text, indent=2, hang=2)
    yield _grid([(_compared(c, c.before, c.after), c.before, c.after, c.verdict) for c in changes])


def _nodes(nodes: Iterable[NodeDifference]) -> Iterator[Part]:
    pairs: dict[tuple[str, str, bool, str], list[NodeDifference]] = {}
    for node in nodes:
        key = (node_text(node.node), node_text(node.other), node.together,
               others_text(node.differences))  # fmt: skip
        pairs.setdefault(key, []).append(node)
    for (name, other, together, others), apart in pairs.items():
        yield Paragraph(plain(f"node {name} differs from {other}"), "bold", hang=2)
        how = ("measured at one time, so no change" if together else
               "measured one after the other: node or software, which is not known")  # fmt: skip
        for text in (how, f"differs: {others}" if others else ""):
            if text:
                yield Paragraph(text, indent=2, hang=2)
        yield _grid(
            [(_compared(n, n.other_level, n.level), n.other_level, n.level, "") for n in apart]
        )


def _grid(changes: Iterable[_Change]) -> Grid:
    """The rows of each cell below its id."""
    cells: dict[str, list[_Change]] = {}
    for change in changes:
        cells.setdefault(change[0].cell_id, []).append(change)
    rows: list[Row | Paragraph] = []
    for cell_id, own in cells.items():
        rows.append(Paragraph(plain(cell_id), "bold", indent=2, hang=2))
        rows += [_row(*change) for change in own]
    return Grid(_COLUMNS, rows, indent=4)


def _row(change: CellComparison, before: Level, after: Level, verdict: str) -> Row:
    return Row(
        (
            change.metric,
            figure_text(change.base, change.metric),
            figure_text(change.new, change.metric),
            effect_text(change),
            interval_text(change),
            f"{before.runs}, {after.runs}",
            verdict,
        ),
        style=_STYLES.get(verdict, ""),
    )


def _compared(change: ChangePoint | NodeDifference, before: Level, after: Level) -> CellComparison:
    """As a row of `alignmeter compare`, whose texts fit."""
    return CellComparison(
        cell_id=change.cell_id,
        device=change.node.device,
        metric=change.metric,
        base=Figure(value=before.value, replicates=before.runs),
        new=Figure(value=after.value, replicates=after.runs),
        ratio=change.ratio,
        low=change.low,
        high=change.high,
        effect_percent=change.effect_percent,
        verdict="inconclusive",
    )
