"""What one pair of cells says of a claim, and what all of them say together."""

__all__ = [
    "STANCES",
    "VERDICTS",
    "Claim",
    "Evidence",
    "Finding",
    "Material",
    "Stance",
    "Verdict",
    "judged",
]

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from alignmeter.analysis.delta import Delta
from alignmeter.analysis.intervals import Estimate
from alignmeter.analysis.likeness import Group
from alignmeter.analysis.scaling import Fit, Ladder
from alignmeter.records.record import Record

Stance = Literal["fails", "open", "holds", "apart"]
STANCES: tuple[str, ...] = get_args(Stance)
"""Worst first. ``open``: too few replicates, an interval that leaves it open, or an invalid
figure. ``apart``: it cannot settle the claim, whatever it says.
"""
Verdict = Literal["contradicted", "mixed", "supported", "not measured"]
VERDICTS: tuple[str, ...] = get_args(Verdict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """One row. ``cells``: ids of what was held against each other, on ``device``.

    ``figure``: in ``unit``: ``%``, the name of a metric for a ratio of it, ``k`` for an exponent,
    or what is counted.
    ``why``: what the stance rests on.
    """

    cells: tuple[str, ...]
    device: str
    what: str
    figure: Estimate | None
    unit: str
    stance: Stance
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """Records, and what several claims ask of them: worked out once."""

    records: Sequence[Record]
    groups: Sequence[Group]
    deltas: Sequence[Delta]
    ladders: Sequence[tuple[Ladder, Sequence[Fit]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A sentence that people repeat, and ``rule``: when one row holds, and when it fails.

    ``find``: the evidence in the records. ``scale``: parameters of the smallest model that it is
    said of; 0 where the size of a model does not matter.
    """

    name: str
    text: str
    rule: str
    find: Callable[[Material], list[Evidence]]
    scale: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A claim, its verdict, and the evidence with the worst first."""

    claim: Claim
    verdict: Verdict
    evidence: list[Evidence]

    def of(self, *stances: Stance) -> list[Evidence]:
        """The evidence of these stances."""
        return [row for row in self.evidence if row.stance in stances]


def judged(claim: Claim, evidence: Sequence[Evidence]) -> Finding:
    """Only rows that hold or fail count: all hold, all fail, both, or there is none."""
    seen = {row.stance for row in evidence} & {"holds", "fails"}
    verdict: Verdict
    if seen == {"holds"}:
        verdict = "supported"
    elif seen == {"fails"}:
        verdict = "contradicted"
    else:
        verdict = "mixed" if seen else "not measured"
    ranked = sorted(evidence, key=lambda row: (STANCES.index(row.stance), row.what, row.cells))
    return Finding(claim=claim, verdict=verdict, evidence=ranked)
