"""Which cells are worth their memory and their energy: Pareto fronts of like cells."""

__all__ = ["ParetoPoint", "ParetoView", "pareto_views"]

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from alignmeter.cells.axes import AXES
from alignmeter.cells.labels import cell_text
from alignmeter.registry import ARCHITECTURES, PEFT_MODES
from alignmeter_reports.cells import CellRow
from alignmeter_reports.drawing.svg import (
    INK,
    LARGEST,
    MARKERS,
    PALETTE,
    literal,
    plain,
    settings,
    svg_text,
)

_COLOURS = dict(zip(PEFT_MODES, PALETTE, strict=False))
_SHAPES = dict(zip(ARCHITECTURES, MARKERS, strict=False))
"""By the order of their rows, as far as both go: names beyond them, and those that this version
does not know, share the last of each."""
_MOST_CHARTS = 8
_COSTS: dict[str, tuple[str, str, Callable[[CellRow], float | None]]] = {
    "memory": ("memory", "peak memory, MiB", lambda r: _mib(r.peak_bytes)),
    "energy": ("energy", "energy per 1000 tokens, J", lambda r: r.energy_per_1000_tokens_j),
}
"""Cost -> the metric that must be valid, the axis's label, the figure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ParetoPoint:
    """One cell. ``on_front``: no like cell has more tokens per s for as little cost."""

    row: CellRow
    cost: float
    tokens_per_s: float
    on_front: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ParetoView:
    """Cells of one method, shape and device. ``cost``: what the horizontal axis shows."""

    head: str
    cost: str
    chart: Markup
    points: list[ParetoPoint]


def _mib(count: int | None) -> float | None:
    return None if count is None else count / 2**20


def pareto_views(rows: Sequence[CellRow]) -> tuple[list[ParetoView], int]:
    """Tokens per s versus memory and energy, and how many views found no room.

    Only cells with the same method, size, lengths, batch and device stand in one view; PPO's tokens
    are not DPO's. A view needs two cells whose figures are valid.
    """
    groups: dict[str, list[CellRow]] = defaultdict(list)
    for row in rows:
        groups[_head(row)].append(row)
    charts = [
        (head, cost, points)
        for head, group in groups.items()
        for cost in _COSTS
        if len(points := _points(cost, group)) > 1
    ]
    views = [_view(*one) for one in charts[:_MOST_CHARTS]]
    return views, len(charts) - len(views)


def _head(row: CellRow) -> str:
    cell = row.cell
    shape = f"{cell.size}, T {cell.seq_len}, P {cell.prompt_len}, B {cell.batch}"
    lane = "" if cell.lane == AXES["lane"].default else f", lane {cell.lane}"
    return f"{cell.method.upper()}, {shape}{lane}, {row.device}"


def _view(head: str, cost: str, points: list[ParetoPoint]) -> ParetoView:
    _, label, _ = _COSTS[cost]
    return ParetoView(head=head, cost=cost, chart=_chart(head, label, points), points=points)


def _points(cost: str, group: Sequence[CellRow]) -> list[ParetoPoint]:
    """The cheapest first; only cells whose figures are valid."""
    metric, _, pick = _COSTS[cost]
    usable = [
        (row, value, row.trained_per_s)
        for row in group
        if not {"time", metric} & row.invalid.keys()
        and (value := pick(row)) is not None
        and row.trained_per_s is not None
        and max(value, row.trained_per_s) < LARGEST
    ]
    usable.sort(key=lambda entry: (entry[1], -entry[2], entry[0].anchor))
    points, best = [], 0.0
    for row, value, speed in usable:
        points.append(ParetoPoint(row=row, cost=value, tokens_per_s=speed, on_front=speed > best))
        best = max(best, speed)
    return points


def _chart(head: str, label: str, points: Sequence[ParetoPoint]) -> Markup:
    with settings():
        figure = Figure(figsize=(5.2, 3.6), layout="constrained")
        axes = figure.add_subplot()
        front = [p for p in points if p.on_front]
        axes.plot(
            [p.cost for p in front], [p.tokens_per_s for p in front],
            color=INK, linewidth=1, linestyle="--", zorder=1,
        )  # fmt: skip
        _draw_points(axes, points)
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(label)
        axes.set_ylabel("trained tokens per s")
        figure.legend(loc="outside upper left", ncols=2, frameon=False, labelcolor=INK, fontsize=8)
        plain(figure, axes)
        best = "; ".join(f"{_label(p.row)}: {p.cost:.4g}, {p.tokens_per_s:.4g}" for p in front)
        text = svg_text(figure, f"Tokens per s versus {label}: {head}", f"The front: {best}")
    # matplotlib wrote it and escaped the labels.
    return Markup(text)  # noqa: S704


def _draw_points(axes: Axes, points: Sequence[ParetoPoint]) -> None:
    named: set[str] = set()
    for point in points:
        cell, label = point.row.cell, _label(point.row)
        colour = _COLOURS.get(cell.peft, PALETTE[-1])
        ours = cell.kernels == AXES["kernels"].default
        axes.plot(
            [point.cost], [point.tokens_per_s],
            marker=_SHAPES.get(cell.architecture, MARKERS[-1]), markersize=8, linestyle="none",
            color=colour, markerfacecolor=colour if ours else "none",
            label=literal(label) if label not in named else None,
        )  # fmt: skip
        named.add(label)


def _label(row: CellRow) -> str:
    """What tells the cells of one chart apart."""
    return cell_text(row.cell, without=("method", "size", "seq_len", "batch", "lane"))
