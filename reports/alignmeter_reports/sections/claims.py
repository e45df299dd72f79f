"""The table of claims, as the page and the Markdown show it."""

__all__ = ["ClaimRow", "claim_rows"]

from collections.abc import Sequence
from dataclasses import dataclass

from alignmeter.analysis.claims import Evidence, Finding
from alignmeter.analysis.words import range_text

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
        figure=_range(counted),
        counts=", ".join(f"{n} {what}" for n, what in counts if n) or "no cells",
        against=finding.of("fails")[:_MOST],
        apart=_range(apart),
        shown=finding.evidence[:_MOST],
    )


def _range(rows: Sequence[Evidence]) -> str:
    """Rows of one claim have one unit."""
    figures = [row.figure for row in rows if row.figure is not None]
    unit = next((row.unit for row in rows if row.figure is not None), "")
    return range_text(figures, unit)
