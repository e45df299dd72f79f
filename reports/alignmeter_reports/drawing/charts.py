"""Charts as inline SVG. The object API of matplotlib only: no global state, no display."""

__all__ = ["Bar", "Curve", "Panel", "log_log", "stacked_bars"]

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from alignmeter.text import shortened
from alignmeter_reports.drawing.svg import (
    HATCHES,
    INK,
    LARGEST,
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
_MOST_DESCRIBED = 12
"""Bars and curves that a description names; the table beside the chart has all."""
_LONGEST_NAME = 80
"""Characters of a name in a description; records may hold anything."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One bar: its label and the sizes of its parts by name."""

    label: str
    parts: dict[str, float]


def stacked_bars(bars: Sequence[Bar], *, title: str, unit: str) -> str:
    """Horizontal stacked bars, top to bottom, as one ``<svg>`` element with title and role.

    Parts are stacked in the order in which they first appear; those beyond the palette's nine
    colours share the last one. A bar with a part of 1e15 or more is left out, and those beyond the
    sixtieth, which the axis then says; without bars the text is empty.
    """
    every = [bar for bar in bars if all(abs(v) < LARGEST for v in bar.parts.values())]
    bars = every[:_MOST_BARS]
    if not bars:
        return ""
    if len(every) > len(bars):
        unit += f" (the first {len(bars)} of {len(every)} bars; the table has all)"
    names = list(dict.fromkeys(name for bar in bars for name in bar.parts))
    with settings():
        figure = Figure(figsize=(8.2, 0.9 + 0.3 * len(bars)), layout="constrained")
        axes = figure.add_subplot()
        left = [0.0] * len(bars)
        for i, name in enumerate(names):
            which = min(i, len(PALETTE) - 1)
            widths = [bar.parts.get(name, 0.0) for bar in bars]
            rows = [row for row, width in enumerate(widths) if width]
            axes.barh(
                rows,
                [widths[row] for row in rows],
                left=[left[row] for row in rows],
                height=0.72,
                color=PALETTE[which],
                hatch=HATCHES[which],
                edgecolor=_EDGE,
                linewidth=0.5,
                label=literal(name),
            )
            left = [a + b for a, b in zip(left, widths, strict=True)]
        axes.set_yticks(range(len(bars)), [literal(bar.label) for bar in bars])
        axes.set_ylim(len(bars) - 0.4, -0.6)
        axes.set_xlabel(unit)
        figure.legend(loc="outside upper left", ncols=5, frameon=False, labelcolor=INK)
        plain(figure, axes)
        return svg_text(figure, title, f"{len(bars)} bars from top to bottom. {_sums(bars)}")


def _sums(bars: Sequence[Bar]) -> str:
    """The sums of the first bars, for who does not see them."""
    sums = [
        f"{shortened(bar.label, _LONGEST_NAME)}: {sum(bar.parts.values()):.3g}"
        for bar in bars[:_MOST_DESCRIBED]
    ]
    return "In the unit of the axis: " + "; ".join(sums) + "."


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """Points (x, y), both above zero. Curves of one ``colour`` belong together."""

    label: str
    points: list[tuple[float, float]]
    colour: int
    dashed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One pair of axes: its title with the unit, and its curves."""

    title: str
    curves: list[Curve]


def log_log(panels: Sequence[Sequence[Panel]], *, title: str, x_label: str) -> str:
    """Rows of panels with logarithmic axes as one ``<svg>`` element; ticks at each x of a curve.

    Points at 1e15 or above are left out.
    """
    columns = max(map(len, panels))
    with settings():
        figure = Figure(figsize=(8.2, 3.9 * len(panels) + 0.3), layout="constrained")
        grid = figure.subplots(len(panels), columns, squeeze=False)
        for axes_row, row in zip(grid, panels, strict=True):
            for axes, panel in zip(axes_row[: len(row)], row, strict=True):
                _draw(axes, panel)
                plain(figure, axes)
            for axes in axes_row[len(row) :]:
                axes.set_visible(False)
        for axes in grid[-1]:
            axes.set_xlabel(x_label)
        return svg_text(figure, title, _ends([panel for row in panels for panel in row]))


def _ends(panels: Sequence[Panel]) -> str:
    """Where the first curves begin and end, for who does not see them."""
    ends = [
        f"{shortened(panel.title, _LONGEST_NAME)}, {shortened(curve.label, _LONGEST_NAME)}: "
        f"{_point(curve.points[0])} to {_point(curve.points[-1])}"
        for panel in panels
        for curve in panel.curves
        if curve.points
    ]
    return "; ".join(ends[:_MOST_DESCRIBED]) + "."


def _point(point: tuple[float, float]) -> str:
    return f"{point[1]:.3g} at {point[0]:g}"


def _draw(axes: Axes, panel: Panel) -> None:
    ticks: set[float] = set()
    for curve in panel.curves:
        points = [(x, y) for x, y in curve.points if max(x, y) < LARGEST]
        ticks.update(x for x, _ in points)
        which = min(curve.colour, len(PALETTE) - 1)
        axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            color=PALETTE[which],
            linestyle="--" if curve.dashed else "-",
            marker=None if curve.dashed else MARKERS[which],
            markersize=4,
            label=literal(curve.label),
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sorted(ticks), [f"{x:g}" for x in sorted(ticks)], minor=False)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
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
