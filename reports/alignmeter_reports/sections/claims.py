"""The table of claims, as the page and the Markdown show it."""

__all__ = ["ClaimRow", "claim_rows", "figure_text", "range_text"]

from collections.abc import Sequence
from dataclasses import dataclass

from alignmeter.analysis.claims import Evidence, Finding
from alignmeter.analysis.intervals import Estimate

_MOST = 60
"""Rows of evidence per claim on a page, the worst first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimRow:
    """One claim. ``figure``: of the cells that count. ``counts``: how many of each stance.

    ``against``: what contradicts it. ``apart``: figures that settle nothing, as a range.
    """

    finding: Finding
    figure: str
    counts: str
    against: list[Evidence]
    apart: str
    shown: list[Evidence]

    @property
    def hidden(self) -> int:
        """Rows of evidence that found no room."""
        return len(self.finding.evidence) - len(self.shown)


def claim_rows(findings: Sequence[Finding]) -> list[ClaimRow]:
    """One per finding."""
    return [_row(finding) for finding in findings]


def _row(finding: Finding) -> ClaimRow:
    counted, undecided = finding.of("holds", "fails"), finding.of("open")
    apart = finding.of("apart")
    counts = (
        (len(finding.of("holds")), "for it"),
        (len(finding.of("fails")), "against"),
        (len(undecided), "open"),
        (len(apart), "apart"),
    )
    return ClaimRow(
        finding=finding,
        figure=range_text(counted),
        counts=", ".join(f"{n} {what}" for n, what in counts if n) or "no cells",
        against=finding.of("fails")[:_MOST],
        apart=range_text(apart),
        shown=finding.evidence[:_MOST],
    )


def figure_text(figure: Estimate | None, unit: str) -> str:
    """``0.62 times (0.60 to 0.65)``; without an interval the figure alone."""
    if figure is None:
        return "\N{EN DASH}"
    text = _with_unit(_bare(figure.value, unit), unit)
    if figure.low is None or figure.high is None or figure.low == figure.high:
        return text
    return f"{text} ({_bare(figure.low, unit)} to {_bare(figure.high, unit)})"


def range_text(rows: Sequence[Evidence]) -> str:
    """The figure of one row with its interval; of several the least and the most."""
    figures = sorted((row.figure.value, row.unit) for row in rows if row.figure is not None)
    if not figures:
        return "\N{EN DASH}"
    if len(figures) == 1:
        only = next(row for row in rows if row.figure is not None)
        return figure_text(only.figure, only.unit)
    unit = figures[0][1]
    least, most = (_bare(value, unit) for value, _ in (figures[0], figures[-1]))
    return _with_unit(least if least == most else f"{least} to {most}", unit)


def _bare(value: float, unit: str) -> str:
    if unit == "replicates":
        return f"{value:.0f}"
    if unit == "%":
        return f"{value:.1f}"
    return f"{value:.2f}" if 0.1 <= value < 1000 else f"{value:.3g}"


def _with_unit(text: str, unit: str) -> str:
    if unit == "k":
        return f"k = {text}"
    return f"{text} times" if unit == "x" else f"{text} {unit}"
