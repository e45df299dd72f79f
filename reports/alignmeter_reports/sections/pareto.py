"""Which cells are worth their memory, energy and money: Pareto fronts of like cells."""

__all__ = ["ParetoFront", "ParetoPoint", "ParetoView", "pareto_views"]

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from alignmeter.cells.axes import AXES
from alignmeter.cells.labels import parts, spelled
from alignmeter.cells.naming import Naming
from alignmeter.registry import DELTAS
from alignmeter_reports.cells import CellRow
from alignmeter_reports.drawing.scales import BYTES, COUNT, JOULES, Quantity, log_axis, money
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
from alignmeter_reports.sections.cost import CostView

_MOST_CHARTS = 8
_LEAST_POINTS = 3
"""Fewer cells of a device are told by the table: any two points make a front or a dominated one."""
_SIGNS = (*MARKERS, "<", ">", "p", "d", "8")
"""One per cell of a chart; those beyond them share the last."""
_SHAPE = ("method", "size", "seq_len", "batch", "lane")
"""Parts of a cell that all points of one chart share."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ParetoPoint:
    """One cell. ``on_front``: no like cell of its device has more tokens per s for as little cost.

    ``cost_text``: the cost with its unit.
    """

    row: CellRow
    name: str
    cost: float
    cost_text: str
    tokens_per_s: float
    on_front: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ParetoFront:
    """The points of one device, the cheapest first."""

    device: str
    points: list[ParetoPoint]


@dataclass(frozen=True, kw_only=True, slots=True)
class ParetoView:
    """Cells of one method and shape. ``cost``: what the horizontal axis shows."""

    head: str
    cost: str
    chart: Markup
    fronts: list[ParetoFront]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Cost:
    """``metrics``: those that must be valid. ``of``: the figure in ``quantity``'s base unit."""

    metrics: frozenset[str]
    label: str
    quantity: Quantity
    of: Callable[[CellRow], float | None]


def pareto_views(rows: Sequence[CellRow], cost: CostView) -> tuple[list[ParetoView], int]:
    """Tokens per s versus memory, energy and money, and how many views found no room.

    Only cells with the same method, size, lengths and batch stand in one view; PPO's tokens are not
    DPO's. Devices share its axes and have a front each, of three valid cells or more.
    """
    groups: dict[str, list[CellRow]] = defaultdict(list)
    for row in rows:
        groups[_head(row)].append(row)
    naming = Naming(row.cell for row in rows)
    charts = [
        (head, one, fronts)
        for head, group in sorted(groups.items(), key=_first)
        for one in _costs(cost)
        if (fronts := _fronts(one, group, naming))
    ]
    views = [_view(*chart) for chart in charts[:_MOST_CHARTS]]
    return views, len(charts) - len(views)


def _first(entry: tuple[str, list[CellRow]]) -> int:
    """The methods of the headline stand before all others, which stay as they are."""
    method = entry[1][0].cell.method
    return DELTAS[0].index(method) if method in DELTAS[0] else len(DELTAS[0])


def _head(row: CellRow) -> str:
    words = parts(row.cell)
    lane = f"lane {row.cell.lane}" if row.cell.lane != AXES["lane"].default else ""
    shape = (words[name] for name in ("size", "seq_len", "prompt_len", "batch"))
    return ", ".join(text for text in (spelled("method", row.cell.method), *shape, lane) if text)


def _costs(cost: CostView) -> list[_Cost]:
    """Money, where prices were given: of an invalid time or energy there is none."""
    found = [
        _Cost(metrics=frozenset(("time", "memory")), label="peak memory", quantity=BYTES,
              of=lambda row: row.peak_bytes),
        _Cost(metrics=frozenset(("time", "energy")), label="energy per 1000 trained tokens",
              quantity=JOULES, of=lambda row: row.energy_per_1000_tokens_j),
    ]  # fmt: skip
    if cost.prices is None:
        return found
    by_anchor = {
        one.row.anchor: one.money.per_million for one in cost.rows if "money" not in one.invalid
    }
    currency = cost.prices.currency
    label = f"{currency} per million trained tokens"
    return [
        *found,
        _Cost(metrics=frozenset(("time",)), label=label, quantity=money(currency),
              of=lambda row: by_anchor.get(row.anchor)),
    ]  # fmt: skip


def _fronts(cost: _Cost, group: Sequence[CellRow], naming: Naming) -> list[ParetoFront]:
    by_device: dict[str, list[CellRow]] = defaultdict(list)
    for row in group:
        by_device[row.where].append(row)
    found = [
        ParetoFront(device=device, points=_points(cost, mine, naming))
        for device, mine in by_device.items()
    ]
    return [front for front in found if len(front.points) >= _LEAST_POINTS]


def _points(cost: _Cost, rows: Sequence[CellRow], naming: Naming) -> list[ParetoPoint]:
    """The cheapest first; only cells whose figures are valid."""
    usable = [
        (row, value, row.trained_per_s)
        for row in rows
        if not cost.metrics & row.invalid.keys()
        and (value := cost.of(row)) is not None
        and value > 0
        and row.trained_per_s is not None
        and max(value, row.trained_per_s) < LARGEST
    ]
    usable.sort(key=lambda entry: (entry[1], -entry[2], entry[0].anchor))
    points, best = [], 0.0
    for row, value, speed in usable:
        points.append(
            ParetoPoint(
                row=row, name=naming.of(row.cell, without=_SHAPE), cost=value,
                cost_text=cost.quantity.text(value), tokens_per_s=speed, on_front=speed > best,
            )
        )  # fmt: skip
        best = max(best, speed)
    return points


def _view(head: str, cost: _Cost, fronts: list[ParetoFront]) -> ParetoView:
    return ParetoView(head=head, cost=cost.label, chart=_chart(head, cost, fronts), fronts=fronts)


def _chart(head: str, cost: _Cost, fronts: Sequence[ParetoFront]) -> Markup:
    every = [point for front in fronts for point in front.points]
    names = sorted({point.name for point in every})  # one marker per name in all charts
    markers = {name: _SIGNS[min(k, len(_SIGNS) - 1)] for k, name in enumerate(names)}
    lines = (len(names) + len(fronts) + 1) // 2
    with settings():
        figure = Figure(figsize=(5.6, 3.3 + LINE_IN * lines), layout="constrained")
        axes = figure.add_subplot()
        for number, front in enumerate(fronts):
            _draw(axes, front, PALETTE[min(number, len(PALETTE) - 1)], markers)
        speeds = [bound for point in every for bound in _bounds(point)]
        log_axis(axes, "x", [point.cost for point in every], cost.quantity)
        log_axis(axes, "y", speeds, COUNT)
        axes.set_xlabel(cost.label)
        axes.set_ylabel("trained tokens per s")
        figure.legend(
            handles=_legend(fronts, markers), loc="outside upper left", ncols=2, frameon=False,
            labelcolor=INK, fontsize=8,
        )  # fmt: skip
        plain(figure, axes)
        told = "; ".join(f"{front.device}: {_told(front)}" for front in fronts)
        title = f"Tokens per s versus {cost.label}: {head}"
        text = svg_text(figure, title, f"The front of {told}")
    # matplotlib wrote it and escaped the labels.
    return Markup(text)  # noqa: S704


def _told(front: ParetoFront) -> str:
    best = (point for point in front.points if point.on_front)
    return ", ".join(f"{p.name} ({p.cost_text}, {COUNT.text(p.tokens_per_s)})" for p in best)


def _bounds(point: ParetoPoint) -> tuple[float, float]:
    """Of its tokens per s, from the interval of the step time; the figure where there is none."""
    time, tokens = point.row.time_s, point.row.tokens
    if time is None or not tokens or not time.low or not time.high:
        return point.tokens_per_s, point.tokens_per_s
    return tokens / time.high, tokens / time.low


def _draw(axes: Axes, front: ParetoFront, colour: str, markers: dict[str, str]) -> None:
    best = [point for point in front.points if point.on_front]
    axes.plot(
        [p.cost for p in best], [p.tokens_per_s for p in best],
        color=colour, linewidth=1, linestyle="--", zorder=1,
    )  # fmt: skip
    for point in front.points:
        low, high = _bounds(point)
        axes.plot([point.cost] * 2, [low, high], color=colour, linewidth=1, zorder=2)
        ours = point.row.cell.kernels == AXES["kernels"].default
        axes.plot(
            [point.cost], [point.tokens_per_s], marker=markers[point.name], markersize=8,
            linestyle="none", color=colour, markerfacecolor=colour if ours else "none", zorder=3,
        )  # fmt: skip


def _legend(fronts: Sequence[ParetoFront], markers: dict[str, str]) -> list[Line2D]:
    """Colours are devices, where there are several; markers are cells."""
    devices = [
        Line2D([], [], color=PALETTE[min(number, len(PALETTE) - 1)], linestyle="--",
               label=literal(front.device))
        for number, front in enumerate(fronts)
        if len(fronts) > 1
    ]  # fmt: skip
    cells = [
        Line2D([], [], color=INK, linestyle="none", marker=marker, label=literal(name))
        for name, marker in markers.items()
    ]
    return [*devices, *cells]
