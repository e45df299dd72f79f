"""What every chart shares: colours, settings, and how a figure becomes inline SVG.

The object API of matplotlib only: no global state, no display.
"""

__all__ = [
    "HATCHES", "INK", "LARGEST", "LINE_IN", "MARKERS", "PALETTE", "literal", "plain", "settings",
    "svg_text",
]  # fmt: skip

import html
import io
import re
import warnings
from contextlib import AbstractContextManager

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from alignmeter.text import shortened, wrapped

# Okabe and Ito's palette (2008), told apart with any common colour blindness, and a dark grey.
PALETTE = [
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
HATCHES = ("", "///", "|||", "xxx", "---", "+++", "", "\\\\\\", "")
"""One per colour, so that neighbours in a bar are told apart without any colour.

Dots would cost 170 kB a chart.
"""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "h")
"""One per colour, for curves and points."""
LARGEST = 1e15
"""A part above it is no measurement, and matplotlib's sums would overflow."""
INK = "#7a7f87"
"""Legible on the light and the dark page alike."""
_LINE = 44
"""Characters of a line of a name; more would leave no room for what is drawn."""
_LONGEST_NAME = 300
"""Characters of a name: longer than any that a cell has, for records may hold anything."""
_LONGEST_TITLE = 400
LINE_IN = 0.15
"""Height of a line of a name, in inches."""
_EDGE_IN = 0.05


def settings() -> AbstractContextManager[None]:
    """A context in which charts are drawn: text stays text, lines of a hatch are thin."""
    return mpl.rc_context({"svg.fonttype": "none", "hatch.linewidth": 0.4, "font.size": 9})


def literal(text: str, columns: int = _LINE) -> str:
    """A whole name, in lines that leave room for what is drawn. No formula."""
    lines = wrapped(shortened(text, _LONGEST_NAME), columns)
    return "\n".join(lines).replace("$", r"\$")


def plain(figure: Figure, axes: Axes) -> None:
    """Nothing but ink on the page: no background, no frame."""
    axes.tick_params(colors=INK, which="both")
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    figure.patch.set_alpha(0)
    axes.patch.set_alpha(0)


def svg_text(figure: Figure, title: str, desc: str = "") -> str:
    """The figure as one ``<svg>`` element with role, title and, if given, a description.

    Equal charts have equal ids; those that nothing refers to are left out. Charts that are
    described differently share none: what a closed part of the page defines, others may not see.
    """
    buffer = io.StringIO()
    with warnings.catch_warnings(), mpl.rc_context({"svg.hashsalt": title + desc}):
        # matplotlib's own font only measures the text; the reader's browser draws it.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        FigureCanvasSVG(figure)
        figure.savefig(
            buffer, format="svg", bbox_inches=_laid_out(figure),
            metadata={"Date": None, "Creator": None},
        )  # fmt: skip
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    before, _, after = text.partition("<metadata>")
    text = _lean(before + after.partition("</metadata>")[2])
    escaped = html.escape(shortened(title, _LONGEST_TITLE))
    described = f"<title>{escaped}</title>" + (f"<desc>{html.escape(desc)}</desc>" if desc else "")
    head, _, rest = text.partition(">")
    return f'{head} role="img" aria-label="{escaped}">{described}{rest}'


def _laid_out(figure: Figure) -> Bbox:
    """As large as what is drawn, in inches, so that nothing is cut at an edge.

    ``bbox_inches="tight"`` gives the same, but draws the whole figure once more to find out.
    """
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine()  # none: else saving lays out and draws once more
    return figure.get_tightbbox().padded(_EDGE_IN)


def _lean(text: str) -> str:
    """Without ids that nothing refers to, indentation, and what is below 0.01 of a point."""
    text = re.sub(r"\n +", "\n", text)
    text = re.sub(r"<[^>]+>", lambda tag: re.sub(r"(\.\d\d)\d+", r"\1", tag[0]), text)
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', text))
    return re.sub(r' id="([^"]*)"', lambda mark: mark[0] if mark[1] in used else "", text)
