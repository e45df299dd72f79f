"""This project's kernels versus what they replace: like cells that differ in the kernels alone."""

__all__ = ["KernelsRow", "kernels_chart", "kernels_rows"]

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alignmeter.analysis.claims.ratios import metric_ratio
from alignmeter.analysis.intervals import Estimate
from alignmeter.analysis.likeness import Group
from alignmeter.analysis.pairings import pairings
from alignmeter.cells.naming import Naming
from alignmeter.text import shortened
from alignmeter_reports.drawing.scales import COUNT, log_axis
from alignmeter_reports.drawing.svg import (
    INK,
    LARGEST,
    LINE_IN,
    PALETTE,
    literal,
    plain,
    settings,
    svg_text,
)

_MOST_DRAWN = 40
_MARKS = (
    ("time", "step time", "o", PALETTE[0]),
    ("memory", "peak memory", "D", PALETTE[5]),
)
"""Field, legend, marker, colour of each ratio."""
_MOST_DESCRIBED = 12
_LONGEST_NAME = 80


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelsRow:
    """custom / ``base`` of a step's time and peak; ``None`` with the reason beside it."""

    what: str
    device: str
    base: str
    cells: tuple[str, str]
    time: Estimate | None
    time_reason: str
    memory: Estimate | None
    memory_reason: str


def kernels_rows(groups: Sequence[Group]) -> list[KernelsRow]:
    """One per pair of cells on one device, those with stock kernels first."""
    rows = []
    naming = Naming(group.cell for group in groups)
    for base in ("stock", "vendor"):
        for pair in pairings(groups, "kernels", base, ("custom",)):
            time, time_reason = metric_ratio(pair.base, pair.other, "time")
            memory, memory_reason = metric_ratio(pair.base, pair.other, "memory")
            rows.append(
                KernelsRow(
                    what=naming.of(pair.base.cell, without=("kernels",)),
                    device=pair.base.where,
                    base=base,
                    cells=(pair.other.cell.id, pair.base.cell.id),
                    time=time,
                    time_reason=time_reason,
                    memory=memory,
                    memory_reason=memory_reason,
                )
            )
    return rows


def kernels_chart(rows: Sequence[KernelsRow]) -> Markup:
    """Both ratios of each pair on one logarithmic axis; left of the line ours need less."""
    drawn = [row for row in rows if row.time or row.memory][:_MOST_DRAWN]
    if not drawn:
        return Markup()
    labels = _labels(drawn)
    tall = max(label.count("\n") + 1 for label in labels)
    with settings():
        height = 1.0 + max(0.3, LINE_IN * tall + 0.06) * len(drawn)
        figure = Figure(figsize=(8.2, height), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(1.0, color=INK, linewidth=1)
        reached = [1.0, *(bound for row in _MARKS for bound in _draw(axes, drawn, *row))]
        axes.set_yticks(range(len(drawn)), labels)
        axes.invert_yaxis()
        log_axis(axes, "x", reached, COUNT)
        axes.set_xlabel("this project's kernels, as a share of the others'")
        figure.legend(loc="outside upper left", ncols=2, frameon=False, labelcolor=INK)
        plain(figure, axes)
        title = "Step time and peak memory with custom kernels versus others"
        text = svg_text(figure, title, "; ".join(map(_description, drawn[:_MOST_DESCRIBED])) + ".")
    # matplotlib wrote it and escaped the labels.
    return Markup(text)  # noqa: S704


def _labels(drawn: Sequence[KernelsRow]) -> list[str]:
    several = len({row.device for row in drawn}) > 1
    places = (f", {row.device}" if several else "" for row in drawn)
    names = (f"{row.what}, versus {row.base}" for row in drawn)
    return [literal(name + place) for name, place in zip(names, places, strict=True)]


def _draw(
    axes: Axes, drawn: Sequence[KernelsRow], name: str, label: str, marker: str, colour: str
) -> list[float]:
    """One metric's ratios with their intervals; returns how far they reach."""
    marked = [
        (place, ratio)
        for place, row in enumerate(drawn)
        if (ratio := getattr(row, name)) is not None and 1 / LARGEST < ratio.value < LARGEST
    ]
    if not marked:
        return []
    ratios = [ratio for _, ratio in marked]
    axes.errorbar(
        [ratio.value for ratio in ratios], [place for place, _ in marked], xerr=_reach(ratios),
        marker=marker, linestyle="none", color=colour, capsize=2, label=label,
    )  # fmt: skip
    bounds = [bound for r in ratios for bound in (r.low or r.value, r.high or r.value)]
    return [bound for bound in bounds if 1 / LARGEST < bound < LARGEST]


def _description(row: KernelsRow) -> str:
    """A pair's ratios, for who does not see them."""
    ratios = {"step time": row.time, "peak memory": row.memory}
    texts = [f"{name} {ratio.value:.3g} times" for name, ratio in ratios.items() if ratio]
    return f"{shortened(row.what, _LONGEST_NAME)}, versus {row.base}: {', '.join(texts)}"


def _reach(ratios: Sequence[Estimate]) -> list[list[float]]:
    """How far each interval goes to the left and to the right; nowhere without one."""
    return [
        [e.value - e.low if e.low is not None else 0.0 for e in ratios],
        [e.high - e.value if e.high is not None else 0.0 for e in ratios],
    ]
