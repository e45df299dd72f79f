"""A comparison of two runs: the worst cell first."""

__all__ = ["comparison_parts"]

from collections.abc import Iterator, Sequence

from alignmeter.analysis.compare.result import CellComparison, Comparison
from alignmeter.analysis.compare.words import (
    cell_names,
    counts_text,
    effect_text,
    figure_text,
    interval_text,
    missing,
    scope_text,
)
from alignmeter.analysis.metrics import METRICS
from alignmeter.terminal.tables import Column, Grid, Paragraph, Part, Row, figure, label
from alignmeter.text import counted, listed, plain

_STYLES = {"lost": "red", "refused": "red", "regressed": "red", "invalid": "yellow",
           "inconclusive": "yellow", "improved": "green", "gained": "green"}  # fmt: skip
_COLUMNS = (label("metric"), figure("BASE"), figure("NEW"), figure("change"),
            figure("95 % interval, %"), Column("verdict"))  # fmt: skip
_DIFFERENCES_SHOWN = 20


def comparison_parts(
    comparison: Comparison, failed: Sequence[CellComparison], unjudged: str = ""
) -> Iterator[Part]:
    """Cells with their metrics, then what is not available, counts and what ``failed``.

    ``unjudged``: which metrics have no verdict, if that matters.
    """
    yield Paragraph(scope_text(comparison))
    yield from _differences("differs in all", comparison.differences, 0)
    names = cell_names(comparison)
    cells: dict[tuple[str, str], list[CellComparison]] = {}
    for row in comparison.rows:
        if row.verdict != "not available" or row.lost:
            cells.setdefault((row.cell_id, row.device), []).append(row)
    if cells:
        yield Paragraph("")
        blocks = (_block(names[cell], rows) for cell, rows in cells.items())
        yield Grid(_COLUMNS, [part for block in blocks for part in block], indent=2)
    for text in (*missing(comparison.rows), *counts_text(comparison)):
        yield Paragraph(text, hang=2)
    yield from _conclusion(failed, unjudged)


def _block(name: str, rows: Sequence[CellComparison]) -> Iterator[Row | Paragraph]:
    """One cell: its name, a row for each metric, and what differs."""
    yield Paragraph(name, "bold", hang=2)
    for row in rows:
        style = "red" if row.lost else _STYLES.get(row.verdict, "")
        if row.metric not in METRICS:
            yield Paragraph(plain(f"{row.metric} {row.verdict}: {row.reason}"), style, 2, 2)
            continue
        figures = figure_text(row.base, row.metric), figure_text(row.new, row.metric)
        changes = effect_text(row), interval_text(row), Paragraph(row.verdict, style)
        yield Row((row.metric, *figures, *changes))
        if row.reason:
            yield Paragraph(plain(row.reason), indent=4, hang=2)
    yield from _differences("differs", rows[0].differences, 2)
    yield Paragraph("")


def _differences(head: str, texts: Sequence[str], indent: int) -> list[Paragraph]:
    if not texts:
        return []
    shown = listed(list(map(plain, texts)), _DIFFERENCES_SHOWN)
    return [Paragraph(f"{head}: {'; '.join(shown)}", indent=indent, hang=2)]


def _conclusion(failed: Sequence[CellComparison], unjudged: str) -> Iterator[Paragraph]:
    if failed:
        cells = len({(row.cell_id, row.device) for row in failed})
        text = f"failed: {counted(len(failed), 'verdict')} in {counted(cells, 'cell')}"
        yield Paragraph(text, "bold red")
    if unjudged:
        yield Paragraph(unjudged, "bold yellow", hang=2)
    if not failed and not unjudged:
        yield Paragraph("nothing failed", "green")
