"""The records versus those of an earlier run: verdicts for the top of the page and its rows."""

__all__ = ["BaselineView", "baseline_view"]

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alignmeter.analysis.compare import CellComparison, Comparison, compare
from alignmeter.analysis.compare.words import counts_text, effect_text, interval_text, scope_text
from alignmeter.records.record import Record
from alignmeter.text import counted, plain

_SILENT = ("equal", "not available", "gained")
_MOST = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class BaselineView:
    """``lines``: how many cells of each verdict. ``rows``: what changed, the worst first, as text.

    ``by_cell``: (cell id, device) -> the texts of its verdicts.
    """

    scope: str
    lines: list[str]
    differences: list[str]
    rows: list[tuple[CellComparison, str]]
    hidden: int
    by_cell: Mapping[tuple[str, str], list[str]]


def baseline_view(records: Sequence[Record], base: Sequence[Record]) -> BaselineView:
    """Verdicts of `alignmeter.analysis.compare`. Raises `InputError` if no cell is in both."""
    comparison = compare(base, records)
    changed = [row for row in comparison.rows if row.verdict not in _SILENT or row.lost]
    return BaselineView(
        scope=scope_text(comparison),
        lines=[*counts_text(comparison), *_gained(comparison)],
        differences=comparison.differences,
        rows=[(row, _verdict(row)) for row in changed[:_MOST]],
        hidden=max(0, len(changed) - _MOST),
        by_cell=_by_cell(comparison),
    )


def _verdict(row: CellComparison) -> str:
    """``regressed +5.21 % [+3.90, +6.51]``."""
    return plain(" ".join(t for t in (row.verdict, effect_text(row), interval_text(row)) if t))


def _gained(comparison: Comparison) -> list[str]:
    count = sum(row.verdict == "gained" for row in comparison.rows)
    return [f"{counted(count, 'cell')} only here"] if count else []


def _by_cell(comparison: Comparison) -> dict[tuple[str, str], list[str]]:
    texts: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in comparison.rows:
        if row.verdict != "not available" or row.lost:
            texts[row.cell_id, row.device].append(f"{row.metric} {_verdict(row)}")
    return dict(texts)
