"""Charts as inline SVG. The object API of matplotlib only: no global state, no display."""

__all__ = ["Bar", "Curve", "Panel", "log_log", "stacked_bars"]

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alignmeter.text import shortened
from alignmeter_reports.drawing.looks import looks
from alignmeter_reports.drawing.scales import COUNT, Quantity, log_axis
from alignmeter_reports.drawing.svg import (
    INK,
    LARGEST,
    LINE_IN,
    MARKERS,
    PALETTE,
    literal,
    plain,
    settings,
    svg_text,
)

_EDGE = "#2b2f36"
"""About each part of a bar: yellow and grey are faint on white."""
_MOST_BARS = 60
"""More are not read as a picture; a table beside each chart has all."""
_NARROW_IN = 3.9
"""Inches of a chart for a telephone."""
_MOST_DESCRIBED = 12
"""Bars and curves that a description names; the table beside the chart has all."""
_LONGEST_NAME = 80
"""Characters of a name in a description; records may hold anything."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One bar: its label and the sizes of its parts by name.

    ``interval``: the lower and the upper bound of a figure that the bar is about, if it has one.
    """

    label: str
    parts: dict[str, float]
    interval: tuple[float, float] | None = None

    @property
    def total(self) -> float:
        """The length of the bar."""
        return sum(self.parts.values())


def stacked_bars(
    bars: Sequence[Bar], *, title: str, axis: str, quantity: Quantity, narrow: bool = False
) -> str:
    """Horizontal stacked bars, top to bottom, as one ``<svg>`` element with title and role.

    ``axis``: what is shown, in ``quantity``'s base unit. Parts are stacked in the order in which
    they first appear, and each looks the same in every chart; those of no size are left out, of
    the legend too. A bar with a part of 1e15 or more is left out, and those beyond the sixtieth,
    which the axis then says; without bars the text is empty. ``narrow``: for a telephone, names
    above their bars.
    """
    every = [bar for bar in bars if all(abs(v) < LARGEST for v in bar.parts.values())]
    bars = every[:_MOST_BARS]
    if not bars:
        return ""
    if len(every) > len(bars):
        axis += f" (the first {len(bars)} of {len(every)} bars; the table has all)"
    size, unit = quantity.unit(max(bar.total for bar in bars))
    labels = [literal(bar.label) for bar in bars]
    tall = max(label.count("\n") + 1 for label in labels)
    with settings():
        line = LINE_IN * tall + 0.3 if narrow else max(0.3, LINE_IN * tall + 0.06)
        width = _NARROW_IN if narrow else 8.2
        figure = Figure(figsize=(width, 0.9 + line * len(bars)), layout="constrained")
        axes = figure.add_subplot()
        _stack(axes, bars, size, height=0.19 / line if narrow else 0.72)
        _ends(axes, bars, size, quantity)
        if narrow:
            _above(axes, labels, 0.135 / line)
        else:
            axes.set_yticks(range(len(bars)), labels)
        axes.set_ylim(len(bars) - 0.4, -1.0 if narrow else -0.6)
        axes.set_xlabel(f"{axis}, {unit}" if unit else axis)
        if axes.get_legend_handles_labels()[0]:
            figure.legend(
                loc="outside upper left", ncols=2 if narrow else 5, frameon=False, labelcolor=INK
            )
        plain(figure, axes)
        how = ", each below its name" if narrow else ""
        said = f"{len(bars)} bars from top to bottom{how}. {_sums(bars, quantity)}"
        return svg_text(figure, title, said)


def _above(axes: Axes, labels: Sequence[str], gap: float) -> None:
    """Each name from the left edge on, above its bar."""
    axes.set_yticks([])
    for row, label in enumerate(labels):
        axes.annotate(label, (0, row - gap), xycoords=("axes fraction", "data"), color=INK)


def _stack(axes: Axes, bars: Sequence[Bar], size: float, *, height: float) -> None:
    drawn = {name for bar in bars for name, width in bar.parts.items() if width}
    names = dict.fromkeys(name for bar in bars for name in bar.parts if name in drawn)
    left = [0.0] * len(bars)
    for name, look in looks(names).items():
        widths = [bar.parts.get(name, 0.0) / size for bar in bars]
        rows = [row for row, width in enumerate(widths) if width]
        axes.barh(
            rows,
            [widths[row] for row in rows],
            left=[left[row] for row in rows],
            height=height,
            color=look.colour,
            hatch=look.hatch,
            edgecolor=_EDGE,
            linewidth=0.5,
            label=literal(name),
        )
        left = [a + b for a, b in zip(left, widths, strict=True)]


def _ends(axes: Axes, bars: Sequence[Bar], size: float, quantity: Quantity) -> None:
    """The figure at the end of each bar, behind its interval where it has one."""
    for row, bar in enumerate(bars):
        end = bar.total
        if bar.interval is not None and max(bar.interval) < LARGEST:
            low, high = bar.interval
            axes.plot([low / size, high / size], [row, row], color=INK, linewidth=1.4, marker="|")
            end = max(end, high)
        axes.annotate(
            quantity.text(bar.total), (end / size, row), (5, 0), textcoords="offset points",
            va="center", color=INK, fontsize=8, annotation_clip=False,
        )  # fmt: skip


def _sums(bars: Sequence[Bar], quantity: Quantity) -> str:
    """The sums of the first bars, for who does not see them."""
    sums = [
        f"{shortened(bar.label, _LONGEST_NAME)}: {quantity.text(bar.total)}"
        for bar in bars[:_MOST_DESCRIBED]
    ]
    return "; ".join(sums) + "."


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """Points (x, y), both above zero. Curves of one ``colour`` belong together.

    ``intervals``: of the points that have one, x -> lower and upper bound.
    """

    label: str
    points: list[tuple[float, float]]
    colour: int
    dashed: bool = False
    intervals: dict[float, tuple[float, float]] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One pair of axes: its title, its curves, and what they are of."""

    title: str
    curves: list[Curve]
    quantity: Quantity = COUNT


def log_log(panels: Sequence[Sequence[Panel]], *, title: str, x_label: str) -> str:
    """Rows of panels with logarithmic axes as one ``<svg>`` element; ticks at each x of a curve.

    Points at 1e15 or above are left out.
    """
    columns = max(map(len, panels))
    with settings():
        heights = [_height(row) for row in panels]
        figure = Figure(figsize=(8.2, sum(heights) + 0.3), layout="constrained")
        grid = figure.subplots(
            len(panels), columns, squeeze=False, gridspec_kw={"height_ratios": heights}
        )
        for axes_row, row in zip(grid, panels, strict=True):
            for axes, panel in zip(axes_row[: len(row)], row, strict=True):
                _draw(axes, panel)
                plain(figure, axes)
            for axes in axes_row[len(row) :]:
                axes.set_visible(False)
        for axes in grid[-1]:
            axes.set_xlabel(x_label)
        return svg_text(figure, title, _extent([panel for row in panels for panel in row]))


def _height(row: Sequence[Panel]) -> float:
    """In inches: axes, and above them the legend, a line for each curve."""
    return max(3.9, 2.7 + 0.18 * max(len(panel.curves) for panel in row))


def _extent(panels: Sequence[Panel]) -> str:
    """Where the first curves begin and end, for who does not see them."""
    ends = [
        f"{shortened(panel.title, _LONGEST_NAME)}, {shortened(curve.label, _LONGEST_NAME)}: "
        f"{_point(curve.points[0], panel.quantity)} to {_point(curve.points[-1], panel.quantity)}"
        for panel in panels
        for curve in panel.curves
        if curve.points
    ]
    return "; ".join(ends[:_MOST_DESCRIBED]) + "."


def _point(point: tuple[float, float], quantity: Quantity) -> str:
    return f"{quantity.text(point[1])} at {point[0]:g}"


def _draw(axes: Axes, panel: Panel) -> None:
    shown = [
        (curve, [(x, y) for x, y in curve.points if max(x, y) < LARGEST]) for curve in panel.curves
    ]
    for curve, points in shown:
        _curve(axes, curve, points)
    every = [point for _, points in shown for point in points]
    if every:
        axes.set_xscale("log")
        log_axis(axes, "y", [y for _, y in every], panel.quantity)
        lengths = sorted({x for x, _ in every})
        axes.set_xticks(lengths, [f"{x:g}" for x in lengths])
        axes.set_xticks([], minor=True)
    if axes.get_legend_handles_labels()[0]:  # a label that begins with _ is none to matplotlib
        legend = axes.legend(
            title=literal(panel.title),
            loc="lower left",
            bbox_to_anchor=(0, 1),
            alignment="left",
            frameon=False,
            labelcolor=INK,
            fontsize=8,
        )
        legend.get_title().set_color(INK)


def _curve(axes: Axes, curve: Curve, points: Sequence[tuple[float, float]]) -> None:
    which = min(curve.colour, len(PALETTE) - 1)
    bounds = curve.intervals or {}
    reach = [(y - bounds[x][0], bounds[x][1] - y) if x in bounds else (0.0, 0.0) for x, y in points]
    axes.errorbar(
        [x for x, _ in points],
        [y for _, y in points],
        yerr=[[low for low, _ in reach], [high for _, high in reach]] if bounds else None,
        color=PALETTE[which],
        linestyle="--" if curve.dashed else "-",
        marker=None if curve.dashed else MARKERS[which],
        markersize=4,
        capsize=2,
        label=literal(curve.label),
    )
