"""Where the time of a step goes, phase by phase."""

__all__ = ["phase_chart"]

from collections.abc import Sequence

from markupsafe import Markup

from alignmeter_reports.cells import CellRow, titles
from alignmeter_reports.drawing.charts import Bar, stacked_bars
from alignmeter_reports.drawing.scales import SECONDS

_PHASES = (
    "ref_precompute", "engine_start", "weight_sync", "rollout", "scoring", "ref_forward", "forward",
    "backward", "optimizer",
)  # fmt: skip
"""The order of a step; a phase of another name comes after them."""


def phase_chart(rows: Sequence[CellRow]) -> Markup:
    """One bar per row that has phases, with the interval of the whole step; ``*``: invalid."""
    timed = [row for row in rows if row.phases_s]
    names = dict.fromkeys(name for row in timed for name in row.phases_s)
    order = [*(name for name in _PHASES if name in names), *(n for n in names if n not in _PHASES)]
    labels = titles(timed)
    bars = [
        Bar(
            label=labels[row.anchor] + ("*" if "time" in row.invalid else ""),
            parts={_shown(name): row.phases_s.get(name, 0.0) for name in order},
            interval=_interval(row),
        )
        for row in timed
    ]
    svg = stacked_bars(
        bars, title="Time of each phase of a step", axis="time of a step", quantity=SECONDS
    )
    # matplotlib writes the SVG and escapes the labels; nothing of a record gets here unescaped.
    return Markup(svg)  # noqa: S704


def _interval(row: CellRow) -> tuple[float, float] | None:
    found = row.time_s
    if found is None or found.low is None or found.high is None:
        return None
    return found.low, found.high


def _shown(phase: str) -> str:
    """matplotlib leaves out a label that is empty or begins with an underscore."""
    return f"phase {phase}" if not phase or phase.startswith("_") else phase
