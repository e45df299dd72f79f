"""Charts as inline SVG. The object API of matplotlib only: no global state, no display."""

__all__ = ["Bar", "Curve", "Panel", "log_log", "stacked_bars"]

import html
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

# Okabe and Ito's palette (2008), told apart with any common colour blindness, and a dark grey.
_PALETTE = [
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#F0E442",
    "#B8BDC4",
    "#5C6470",
]
_LARGEST = 1e15
"""A part above it is no measurement, and matplotlib's sums would overflow."""
_LONGEST_LABEL = 48
_INK = "#7a7f87"
"""Legible on the light and the dark page alike."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One bar: its label and the sizes of its parts by name."""

    label: str
    parts: dict[str, float]


def stacked_bars(bars: Sequence[Bar], *, title: str, unit: str) -> str:
    """Horizontal stacked bars, top to bottom, as one ``<svg>`` element with title and role.

    Parts are stacked in the order in which they first appear; those beyond the palette's nine
    colours share the last one. A bar with a part of 1e15 or more is left out; without
    bars the text is empty.
    """
    bars = [bar for bar in bars if all(abs(v) < _LARGEST for v in bar.parts.values())]
    if not bars:
        return ""
    names = list(dict.fromkeys(name for bar in bars for name in bar.parts))
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "alignmeter", "font.size": 9}):
        figure = Figure(figsize=(8.2, 0.9 + 0.3 * len(bars)), layout="constrained")
        axes = figure.add_subplot()
        left = [0.0] * len(bars)
        for i, name in enumerate(names):
            colour = _PALETTE[min(i, len(_PALETTE) - 1)]
            widths = [bar.parts.get(name, 0.0) for bar in bars]
            axes.barh(range(len(bars)), widths, left=left, color=colour, label=name, height=0.72)
            left = [a + b for a, b in zip(left, widths, strict=True)]
        axes.set_yticks(range(len(bars)), [bar.label.replace("$", r"\$") for bar in bars])
        axes.margins(y=0.4 / len(bars))
        axes.invert_yaxis()
        axes.set_xlabel(unit)
        figure.legend(loc="outside upper left", ncols=5, frameon=False, labelcolor=_INK)
        _plain(figure, axes)
        return _svg(figure, title)


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
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "alignmeter", "font.size": 9}):
        figure = Figure(figsize=(8.2, 3.9 * len(panels) + 0.3), layout="constrained")
        grid = figure.subplots(len(panels), columns, squeeze=False)
        for axes_row, row in zip(grid, panels, strict=True):
            for axes, panel in zip(axes_row, row, strict=False):
                _draw(axes, panel)
                _plain(figure, axes)
            for axes in axes_row[len(row) :]:
                axes.set_visible(False)
        for axes in grid[-1]:
            axes.set_xlabel(x_label)
        return _svg(figure, title)


def _draw(axes: Axes, panel: Panel) -> None:
    ticks: set[float] = set()
    for curve in panel.curves:
        points = [(x, y) for x, y in curve.points if max(x, y) < _LARGEST]
        ticks.update(x for x, _ in points)
        axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            color=_PALETTE[min(curve.colour, len(_PALETTE) - 1)],
            linestyle="--" if curve.dashed else "-",
            marker=None if curve.dashed else "o",
            markersize=4,
            label=_literal(curve.label),
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
            title=_literal(panel.title),
            loc="lower left",
            bbox_to_anchor=(0, 1),
            alignment="left",
            frameon=False,
            labelcolor=_INK,
            fontsize=8,
        )
        legend.get_title().set_color(_INK)


def _literal(text: str) -> str:
    """No formula, and short enough to leave room for the curves."""
    return text[:_LONGEST_LABEL].replace("$", r"\$")


def _plain(figure: Figure, axes: Axes) -> None:
    axes.tick_params(colors=_INK, which="both")
    axes.xaxis.label.set_color(_INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_INK)
    figure.patch.set_alpha(0)
    axes.patch.set_alpha(0)


def _svg(figure: Figure, title: str) -> str:
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # matplotlib's own font only measures the text; the reader's browser draws it.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    before, _, after = text.partition("<metadata>")
    text = before + after.partition("</metadata>")[2]
    escaped = html.escape(title)
    head, _, rest = text.partition(">")
    return f'{head} role="img" aria-label="{escaped}"><title>{escaped}</title>{rest}'
