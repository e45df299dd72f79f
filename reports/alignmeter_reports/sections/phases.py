"""Where the time of a step goes, phase by phase."""

__all__ = ["phase_chart"]

from collections.abc import Sequence

from markupsafe import Markup

from alignmeter_reports.cells import CellRow
from alignmeter_reports.drawing.charts import Bar, stacked_bars
from alignmeter_reports.drawing.labels import bar_label, told_apart

_PHASES = (
    "ref_precompute", "engine_start", "weight_sync", "rollout", "scoring", "ref_forward", "forward",
    "backward", "optimizer",
)  # fmt: skip
"""The order of a step; a phase of another name comes after them."""


def phase_chart(rows: Sequence[CellRow]) -> Markup:
    """One bar per row that has phases, in ms per step."""
    names = dict.fromkeys(name for row in rows for name in row.phases_s)
    order = [*(name for name in _PHASES if name in names), *(n for n in names if n not in _PHASES)]
    named = told_apart(row.cell for row in rows)
    bars = [
        Bar(
            label=bar_label(row.cell, named),
            parts={_named(name): 1e3 * row.phases_s.get(name, 0.0) for name in order},
        )
        for row in rows
        if row.phases_s
    ]
    svg = stacked_bars(bars, title="Time of each phase of a step", unit="ms per step")
    # matplotlib writes the SVG and escapes the labels; nothing of a record gets here unescaped.
    return Markup(svg)  # noqa: S704


def _named(phase: str) -> str:
    """matplotlib leaves out a label that is empty or begins with an underscore."""
    return f"phase {phase}" if not phase or phase.startswith("_") else phase
