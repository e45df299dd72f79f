"""Charts of memory: a waterfall from one peak to another, and predicted versus measured."""

__all__ = ["Point", "Step", "diagonal", "waterfall"]

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from alignmeter.units import bytes_text
from alignmeter_reports.drawing.scales import BYTES, log_axis
from alignmeter_reports.drawing.svg import INK, LARGEST, PALETTE, literal, plain, settings, svg_text

_TOTAL, _MORE, _LESS = PALETTE[8], PALETTE[5], PALETTE[4]
"""A peak, what PPO adds, what it saves. Each bar says it in words too."""
_MARKERS = "os^DvPX*"
"""One per group; those beyond it are one group."""
_GROUP = 24
"""Characters of a line of a group's name."""
_BAND = 0.1
"""Half width of the band about the diagonal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One bar of a waterfall, from ``start`` to ``end``, both in bytes. ``percent``: of the last.

    A total starts at 0.
    """

    name: str
    start: int
    end: int
    percent: float
    total: bool = False

    @property
    def bytes(self) -> int:
        """Its length; negative where it goes down."""
        return self.end - self.start

    @property
    def text(self) -> str:
        """``+2 MiB, +20.0 %``; totals have no sign."""
        if self.total:
            return f"{bytes_text(self.bytes)}, {self.percent:.1f} %"
        if not self.bytes:
            return "nothing"
        return f"{'+' if self.bytes >= 0 else ''}{bytes_text(self.bytes)}, {self.percent:+.1f} %"


def waterfall(steps: Sequence[Step], *, title: str) -> str:
    """The steps top to bottom, each labelled with its figure, as one small ``<svg>`` element.

    The text is empty where a step is too large to be a measurement, or there is none.
    """
    edges = [abs(edge) for step in steps for edge in (step.start, step.end)]
    if not edges or max(edges) >= LARGEST:
        return ""
    unit, unit_name = BYTES.unit(max(edges))
    with settings():
        figure = Figure(figsize=(4.4, 0.62 + 0.36 * len(steps)), layout="constrained")
        axes = figure.add_subplot()
        for row, step in enumerate(steps):
            colour = _TOTAL if step.total else _MORE if step.bytes >= 0 else _LESS
            axes.barh(
                row,
                step.bytes / unit,
                left=step.start / unit,
                height=0.6,
                color=colour,
                edgecolor=colour,
                linewidth=0.8,
            )
            if row + 1 < len(steps):  # from the end of a step to the start of the next
                axes.plot([step.end / unit] * 2, [row + 0.3, row + 0.7], color=INK, linewidth=0.8)
        labels = [f"{literal(step.name)}\n{step.text}" for step in steps]
        axes.set_yticks(range(len(steps)), labels, fontsize=8.5)
        axes.set_xlim(*_span([edge / unit for edge in (0, *_signed(steps))]))
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.invert_yaxis()
        axes.set_xlabel(unit_name)
        plain(figure, axes)
        axes.tick_params(axis="y", length=0)
        described = "; ".join(f"{step.name} {step.text}" for step in steps)
        return svg_text(figure, title, f"From top to bottom: {described}.")


def _signed(steps: Sequence[Step]) -> list[int]:
    return [edge for step in steps for edge in (step.start, step.end)]


def _span(edges: Sequence[float]) -> tuple[float, float]:
    least, most = min(edges), max(edges)
    room = 0.04 * (most - least or 1.0)
    return (least - room if least < 0 else 0.0), most + room


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One record with both figures, in bytes, above zero. Points of one ``group`` share a sign."""

    group: str
    measured: int
    predicted: int


def diagonal(points: Sequence[Point], *, title: str) -> str:
    """Predicted over measured on logarithmic axes, with the line where they are equal.

    Points of 1e15 bytes or more are left out; without points the text is empty.
    """
    points = [point for point in points if max(point.measured, point.predicted) < LARGEST]
    if not points:
        return ""
    figures = [figure for point in points for figure in (point.measured, point.predicted)]
    with settings():
        figure = Figure(figsize=(4.8, 4.1), layout="constrained")
        axes = figure.add_subplot()
        _lines(axes, min(figures), max(figures))
        _points(axes, points)
        for which in ("x", "y"):
            log_axis(axes, which, figures, BYTES)
        axes.set_xlabel("measured peak")
        axes.set_ylabel("predicted peak")
        figure.legend(loc="outside upper left", ncols=3, frameon=False, labelcolor=INK, fontsize=8)
        plain(figure, axes)
        described = f"{len(points)} points about the line where predicted equals measured."
        return svg_text(figure, title, described)


def _lines(axes: Axes, low: float, high: float) -> None:
    axes.plot([low, high], [low, high], color=INK, linewidth=1, label="equal")
    for i, factor in enumerate((1 + _BAND, 1 - _BAND)):
        axes.plot(
            [low, high],
            [factor * low, factor * high],
            color=INK,
            linewidth=0.8,
            linestyle=":",
            label=f"{100 * _BAND:.0f} % off" if i == 0 else None,
        )


def _points(axes: Axes, points: Sequence[Point]) -> None:
    groups: dict[str, list[Point]] = {}
    for point in points:
        several = point.group in groups or len(groups) < len(_MARKERS) - 1
        groups.setdefault(point.group if several else "others", []).append(point)
    for i, (group, mine) in enumerate(groups.items()):
        axes.scatter(
            [point.measured for point in mine],
            [point.predicted for point in mine],
            marker=_MARKERS[i],
            color=PALETTE[i],
            edgecolors=INK,
            linewidths=0.6,
            s=34,
            zorder=3,
            label=literal(group, _GROUP),
        )
