"""A history in the terminal: 80 columns, in order of time, what changed at one run together."""

__all__ = ["print_history"]

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

from alignmeter.analysis.compare.result import CellComparison, Figure
from alignmeter.analysis.compare.words import effect_text, figure_text, interval_text
from alignmeter.analysis.history.result import ChangePoint, History, Level, NodeDifference
from alignmeter.analysis.history.words import (
    differences_text,
    head_text,
    node_text,
    notes_text,
    others_text,
    scope_text,
    summary_text,
)
from alignmeter.text import plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_COLUMNS = 80
_WIDTHS = (("metric", 6), ("before", 10), ("after", 10), ("change", 9), ("95 %", 18), ("runs", 7))
_Row = tuple[CellComparison, Level, Level, str]
"""A change in the words of `alignmeter compare`, both levels and the verdict."""
_STYLES = {"regressed": "red", "improved": "green"}


def print_history(found: History, console: "Console") -> None:
    """Print changes, then nodes that differ; one sentence where nothing changed."""
    several = len(found.nodes) > 1
    events: dict[tuple[str, ...], list[ChangePoint]] = {}
    for change in found.changes:
        key = (head_text(change, several=True), scope_text(change, several=several),
               *differences_text(change))  # fmt: skip
        events.setdefault(key, []).append(change)
    _print(console, summary_text(found), "" if found.changes else "green")
    for changes in events.values():
        console.print()
        _print_event(console, changes, several=several)
    if found.node_differences:
        console.print()
        _print_nodes(console, found.node_differences)
    notes = list(notes_text(found))
    if notes:
        console.print()
    for text in notes:
        _print(console, text, "dim")


def _print(console: "Console", text: str, style: str = "", indent: int = 0) -> None:
    from rich.text import Text

    lines = textwrap.wrap(text, _COLUMNS, initial_indent=" " * indent,
                          subsequent_indent=" " * (indent + 2), break_on_hyphens=False)  # fmt: skip
    for line in lines:
        console.print(Text(line, style=style))


def _print_event(console: "Console", changes: list[ChangePoint], *, several: bool) -> None:
    first = changes[0]
    _print(console, head_text(first, several=several), "bold")
    for text in (*differences_text(first), scope_text(first, several=several)):
        _print(console, text, indent=2)
    _print_rows(
        console, [(_compared(c, c.before, c.after), c.before, c.after, c.verdict) for c in changes]
    )


def _print_nodes(console: "Console", nodes: Iterable[NodeDifference]) -> None:
    pairs: dict[tuple[str, str, bool, str], list[NodeDifference]] = {}
    for found in nodes:
        key = (node_text(found.node), node_text(found.other), found.together,
               others_text(found.differences))  # fmt: skip
        pairs.setdefault(key, []).append(found)
    for (name, other, together, others), apart in pairs.items():
        _print(console, plain(f"node {name} differs from {other}"), "bold")
        how = ("measured at one time, so no change" if together else
               "measured one after the other: node or software, nobody can tell")  # fmt: skip
        for text in (how, f"differs: {others}" if others else ""):
            _print(console, text, indent=2)
        _print_rows(
            console, [(_compared(n, n.other_level, n.level), n.other_level, n.level, "")
                      for n in apart]
        )  # fmt: skip


def _print_rows(console: "Console", rows: Iterable[_Row]) -> None:
    """A small table for each cell; the first has the names of the columns."""
    cells: dict[str, list[_Row]] = {}
    for row in rows:
        cells.setdefault(row[0].cell_id, []).append(row)
    for number, (cell_id, own) in enumerate(cells.items()):
        _print(console, plain(cell_id), "bold", indent=2)
        table = _table(headed=number == 0)
        for compared, before, after, verdict in own:
            _add(table, compared, f"{before.runs}, {after.runs}", verdict)
        console.print(table)


def _compared(found: ChangePoint | NodeDifference, before: Level, after: Level) -> CellComparison:
    """As a row of `alignmeter compare`, whose words fit."""
    return CellComparison(
        cell_id=found.cell_id,
        device=found.node.device,
        metric=found.metric,
        base=Figure(value=before.value, replicates=before.runs),
        new=Figure(value=after.value, replicates=after.runs),
        ratio=found.ratio,
        low=found.low,
        high=found.high,
        effect_percent=found.effect_percent,
        verdict="inconclusive",
    )


def _table(*, headed: bool) -> "Table":
    from rich.table import Table

    table = Table(
        box=None, padding=(0, 1, 0, 0), pad_edge=False, show_header=headed, header_style="dim"
    )
    table.add_column(width=3)
    for name, width in _WIDTHS:
        table.add_column(name, width=width, justify="left" if name == "metric" else "right")
    table.add_column(width=9)
    return table


def _add(table: "Table", row: CellComparison, runs: str, verdict: str) -> None:
    table.add_row(
        "",
        row.metric,
        figure_text(row.base, row.metric),
        figure_text(row.new, row.metric),
        effect_text(row),
        interval_text(row),
        runs,
        verdict,
        style=_STYLES.get(verdict, ""),
    )
