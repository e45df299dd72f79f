"""The section on how much fits: searches, their plans, and the curve they lie on."""

__all__ = ["CapacityRow", "CapacityView", "capacity_views"]

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from alignmeter.analysis.capacity import plan_error_percent, search_name, shape, summary
from alignmeter.cells.labels import spelled
from alignmeter.records.capacity import CapacityPoint
from alignmeter.units import bytes_text
from alignmeter_reports.drawing.charts import Curve, Panel, log_log
from alignmeter_reports.drawing.svg import LARGEST

_LEAST_POINTS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class CapacityRow:
    """One search. ``searched``: axis and what was held. ``next``: the smallest value that was
    refused, and why. ``tokens``: of one step at the largest value, padding included.
    """

    point: CapacityPoint
    name: str
    searched: str
    tokens: int | None
    plan_error_percent: float | None
    next: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CapacityView:
    """All searches on one device within one limit that share their settings.

    ``chart``: of all devices with these settings, at the first of them.
    """

    device: str
    settings: str
    limit: str
    kind: str
    summary: str
    chart: Markup
    rows: list[CapacityRow]


def capacity_views(points: Sequence[CapacityPoint]) -> list[CapacityView]:
    """In order of device, settings and limit; of one search that was stored twice, the last."""
    latest = {(_head(p), search_name(p), p.axis, p.cell): p for p in points}
    ordered = sorted(latest.values(), key=lambda p: (_head(p), search_name(p), p.axis, p.cell.id))
    heads = dict.fromkeys(map(_head, ordered))
    charts = _charts(ordered)
    return [_view([point for point in ordered if _head(point) == head], charts) for head in heads]


def _head(point: CapacityPoint) -> tuple[str, str, str, int, bool]:
    place = point.provenance
    device = "" if place is None else f"{place.device} on {place.host}"
    return device, point.memory_kind, _settings(point), point.limit_bytes or 0, point.limit_given


def _settings(point: CapacityPoint) -> str:
    """Everything in the cell's id but method, architecture, PEFT mode, shape and digest."""
    cell = point.cell
    axes = "-".join(cell.id.split("-")[2:-1])
    shapeless = re.sub(r"-[tpb]\d+(?=-|$)", "", f"-{axes}").lstrip("-")
    return re.sub(rf"-{re.escape(cell.peft)}(?=-|$)", "", shapeless, count=1)


def _charts(points: Sequence[CapacityPoint]) -> dict[int, Markup]:
    """`id` of the first of the points with some settings -> the chart of all that have these.

    Devices share its axes.
    """
    families: dict[str, list[CapacityPoint]] = {}
    for point in points:
        everywhere = _settings(point).replace(f"-{point.cell.accelerator}", "", 1)
        families.setdefault(everywhere, []).append(point)
    return {id(mine[0]): _chart(mine) for mine in families.values()}


def _view(points: Sequence[CapacityPoint], charts: Mapping[int, Markup]) -> CapacityView:
    first = points[0]
    limit = "not known" if first.limit_bytes is None else bytes_text(first.limit_bytes)
    place = first.provenance
    return CapacityView(
        device="no device" if place is None else place.device,
        settings=_settings(first),
        limit=f"{limit}, {'given' if first.limit_given else 'the memory of the device'}",
        kind=first.memory_kind,
        summary=summary(points),
        chart=charts.get(id(first), Markup()),
        rows=[_row(point) for point in points],
    )


def _row(point: CapacityPoint) -> CapacityRow:
    cell, fits = point.cell, shape(point)
    by_batch = point.axis == "batch"
    return CapacityRow(
        point=point,
        name=search_name(point),
        searched=f"batch at T = {cell.seq_len}" if by_batch else f"tokens at B = {cell.batch}",
        tokens=None if fits is None else 2 * fits[0] * fits[1],
        plan_error_percent=plan_error_percent(point),
        next=_next(point),
    )


def _where(point: CapacityPoint) -> str:
    """Device and limit, which decide what fits."""
    device = point.cell.accelerator if point.provenance is None else point.provenance.device
    limit = "" if point.limit_bytes is None else f" within {bytes_text(point.limit_bytes)}"
    return device + limit


def _next(point: CapacityPoint) -> str:
    refused = next((t for t in point.tries if t.value == point.refused), None)
    if refused is None:
        return "\N{EN DASH}"
    if refused.used_bytes is not None:
        return f"{refused.value} needs {bytes_text(refused.used_bytes)}"
    return f"{refused.value}: {refused.status}"


def _chart(points: Sequence[CapacityPoint]) -> Markup:
    """A panel per architecture: pairs that fit versus tokens per sequence."""
    several = len({_where(point) for point in points}) > 1
    curves: dict[str, dict[str, dict[float, float]]] = {}
    for point in points:
        fits = shape(point)
        if fits is not None and 0 < min(fits) <= max(fits) < LARGEST:
            label = " ".join(
                spelled(name, getattr(point.cell, name)) for name in ("method", "peft")
            )
            label += f", {_where(point)}" if several else ""
            curve = curves.setdefault(point.cell.architecture, {}).setdefault(label, {})
            curve[fits[0]] = max(fits[1], curve.get(fits[0], 0))
    labels = list(dict.fromkeys(label for mine in curves.values() for label in mine))
    panels = [
        Panel(
            title=f"{architecture}: largest batch, in pairs",
            curves=[
                Curve(label=label, points=sorted(curve.items()), colour=labels.index(label))
                for label, curve in mine.items()
            ],
        )
        for architecture, mine in curves.items()
    ]
    sizes = [len(curve) for mine in curves.values() for curve in mine.values()]
    if max(sizes, default=0) < _LEAST_POINTS:
        return Markup()
    title = "Largest batch that fits versus sequence length, both axes logarithmic"
    # matplotlib writes the SVG and escapes the labels; nothing of a file gets here unescaped.
    return Markup(log_log([panels], title=title, x_label="tokens per sequence, T"))  # noqa: S704
