"""A comparison as Markdown for a job summary: the worst first, and never too large to be shown."""

__all__ = ["MARKDOWN_LIMIT_BYTES", "escaped", "markdown_text"]

import re
from collections.abc import Sequence

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
from alignmeter.text import listed, plain

MARKDOWN_LIMIT_BYTES = 1_000_000
"""GitHub refuses a step's summary above 1024 KiB; what else the step writes there needs room."""
_LISTED = 30
_HEAD = (
    "| cell | metric | BASE | NEW | change | 95 % interval, % | verdict | why; what differs |\n"
    "|---|---|---|---|---|---|---|---|\n"
)


def markdown_text(
    comparison: Comparison,
    failed: Sequence[CellComparison],
    notes: Sequence[str] = (),
    *,
    unjudged: str = "",
) -> str:
    """At most `MARKDOWN_LIMIT_BYTES` of UTF-8. Rows that find no room are counted at the end.

    ``notes``: sentences that follow the counts. ``unjudged``: which metrics have no verdict, if
    that matters.
    """
    names = cell_names(comparison)
    loud = {id(row) for row in failed}
    rows = [row for row in comparison.rows if row.verdict != "not available" or row.lost]
    start = _start(comparison, failed, unjudged) + (_HEAD if rows else "")
    end = _end(comparison, notes)
    room = MARKDOWN_LIMIT_BYTES - len(start.encode()) - len(end.encode()) - 200
    lines: list[str] = []
    for row in rows:
        line = _row(row, names[row.cell_id, row.device], loud=id(row) in loud)
        room -= len(line.encode())
        if room < 0:
            break
        lines.append(line)
    left = len(rows) - len(lines)
    note = f"\n{left} rows more, none of them worse, are left out here.\n" if left else ""
    return start + "".join(lines) + note + end


def _start(comparison: Comparison, failed: Sequence[CellComparison], unjudged: str) -> str:
    counts = f"{len(failed)} failed" if failed else ""
    title = "; ".join(filter(None, (counts, escaped(unjudged)))) or "nothing failed"
    text = f"### alignmeter compare: {title}\n\n{scope_text(comparison)}.\n\n"
    if comparison.differences:
        text += f"Differs in all of them: {_list(comparison.differences)}.\n\n"
    return text


def _end(comparison: Comparison, notes: Sequence[str]) -> str:
    gaps = missing(comparison.rows)
    lines = [
        *counts_text(comparison),
        *listed(gaps, _LISTED, "reason"),
        *listed(notes, _LISTED, "line"),
    ]
    return "\n" + "".join(f"- {escaped(line)}\n" for line in lines)


def _list(texts: Sequence[str]) -> str:
    return escaped("; ".join(listed([plain(text) for text in texts], _LISTED)))


def _row(row: CellComparison, name: str, *, loud: bool) -> str:
    known = row.metric in METRICS
    verdict = f"**{row.verdict}**" if loud else row.verdict
    why = "; ".join(text for text in (escaped(plain(row.reason)), _list(row.differences)) if text)
    cells = (
        escaped(name),
        row.metric,
        escaped(figure_text(row.base, row.metric)) if known else "",
        escaped(figure_text(row.new, row.metric)) if known else "",
        escaped(effect_text(row)),
        escaped(interval_text(row)),
        verdict,
        why,
    )
    return "| " + " | ".join(cells) + " |\n"


def escaped(text: str) -> str:
    """Every character that Markdown or HTML could take for syntax as a reference to itself."""
    return re.sub(r"[^\w\s.,:;+%/()=-]|_", lambda found: f"&#{ord(found[0])};", text)
