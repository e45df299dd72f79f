"""What a comparison finds: one row per cell and metric, worst first."""

__all__ = ["VERDICTS", "CellComparison", "Comparison", "Figure", "Verdict"]

from typing import Literal, get_args

import msgspec

Verdict = Literal[
    "lost",
    "refused",
    "regressed",
    "invalid",
    "inconclusive",
    "not available",
    "equal",
    "improved",
    "gained",
]
VERDICTS: tuple[str, ...] = get_args(Verdict)
"""Worst first. The statistical ones are `alignmeter.analysis.intervals.Outcome`; ``lost``,
``refused`` and ``gained`` are said of a whole cell; ``invalid`` of a metric whose figures
are.
"""


class Figure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One side's figure, in the metric's unit: s, bytes, J or tokens per s.

    ``low``, ``high``: 95 % interval over ``replicates``; ``None`` below three, and for bytes.
    ``valid``: of replicates whose figure is; else of those whose is not, shown and never ranked.
    """

    value: float
    low: float | None = None
    high: float | None = None
    replicates: int
    valid: bool = True


class CellComparison(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One metric of one cell on one device. ``metric`` is a key of `METRICS`, or ``status`` or
    ``numerics`` for what is said of the cell itself.

    ``ratio`` is NEW / BASE with its 95 % interval; ``effect_percent`` is 100 (ratio - 1). All are
    ``None`` where nothing is ranked. ``reason``: why the verdict is what it is. ``lost``: BASE had
    it and NEW has not. ``differences``: fields of the provenance in which this cell's sides differ,
    beside those that all cells share.
    """

    cell_id: str
    device: str
    metric: str
    base: Figure | None = None
    new: Figure | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    effect_percent: float | None = None
    verdict: Verdict
    reason: str = ""
    lost: bool = False
    differences: list[str] = []


class Comparison(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All rows, worst first. ``compared``: cells that both sides have. ``minimum``: metric -> the
    smallest effect that counts, as a share of 1. ``paired``: whether replicates of one number were
    held against each other. ``differences``: what differs in all cells alike. ``older``: groups of
    replicates on either side that a newer one of the same cell stood in for.
    """

    rows: list[CellComparison]
    compared: int
    minimum: dict[str, float]
    paired: bool = False
    differences: list[str] = []
    older: int = 0
