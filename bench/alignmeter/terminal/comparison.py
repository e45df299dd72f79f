"""A comparison in the terminal: 80 columns, the worst cell first."""

__all__ = ["terminal_lines"]

import textwrap
from collections.abc import Iterator, Sequence

import click

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
from alignmeter.text import counted, plain

_COLUMNS = 80
_FORMAT = "  {:<6} {:>10} -> {:<10} {:>9} {:<18} "
_COLOURS = {"lost": "red", "refused": "red", "regressed": "red", "invalid": "yellow",
            "inconclusive": "yellow", "improved": "green", "gained": "green"}  # fmt: skip
_DIFFERENCES_SHOWN = 20


def terminal_lines(comparison: Comparison, failed: Sequence[CellComparison]) -> list[str]:
    """Cells with their metrics, then what is not available, counts and what ``failed``.

    Colours are escape codes; `click.echo` takes them out where nobody sees them.
    """
    lines = [scope_text(comparison)]
    lines += _differences("differs in all", comparison.differences, "")
    names = cell_names(comparison)
    groups: dict[tuple[str, str], list[CellComparison]] = {}
    for row in comparison.rows:
        if row.verdict != "not available" or row.lost:
            groups.setdefault((row.cell_id, row.device), []).append(row)
    for cell, rows in groups.items():
        lines += ["", *_bold(names[cell])]
        for row in rows:
            lines += _row(row)
        lines += _differences("differs", rows[0].differences, "  ")
    lines.append("")
    for text in (*missing(comparison.rows), *counts_text(comparison)):
        lines += _wrapped(text, "")
    return [*lines, _conclusion(failed)]


def _bold(text: str) -> Iterator[str]:
    for line in _wrapped(text, ""):
        yield click.style(line, bold=True)


def _row(row: CellComparison) -> Iterator[str]:
    colour = "red" if row.lost else _COLOURS.get(row.verdict)
    if row.metric not in METRICS:
        for line in _wrapped(plain(f"{row.metric} {row.verdict}: {row.reason}"), "  "):
            yield click.style(line, fg=colour)
        return
    figures = _FORMAT.format(
        row.metric,
        figure_text(row.base, row.metric),
        figure_text(row.new, row.metric),
        effect_text(row),
        interval_text(row),
    )
    yield figures + click.style(row.verdict, fg=colour)
    if row.reason:
        yield from _wrapped(plain(row.reason), "         ")


def _differences(head: str, texts: Sequence[str], indent: str) -> list[str]:
    if not texts:
        return []
    more = len(texts) - _DIFFERENCES_SHOWN
    shown = [*texts[:_DIFFERENCES_SHOWN], *([f"and {more} more"] if more > 0 else [])]
    return _wrapped(f"{head}: {'; '.join(map(plain, shown))}", indent)


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        _COLUMNS,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_on_hyphens=False,
    )


def _conclusion(failed: Sequence[CellComparison]) -> str:
    if not failed:
        return click.style("nothing failed", fg="green")
    cells = len({(row.cell_id, row.device) for row in failed})
    words = f"failed: {counted(len(failed), 'verdict')} in {counted(cells, 'cell')}"
    return click.style(words, fg="red", bold=True)
