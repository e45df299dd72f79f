"""Trend lines over the runs of a report: a line per cell, and where its level changed."""

__all__ = ["TOLD", "ChangeView", "ChangesView", "Trend", "change_text", "changes_view"]

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alignmeter.analysis.history import (
    ChangePoint,
    Point,
    Series,
    change_points,
    changes_of,
    series,
)
from alignmeter.analysis.history.settings import differences
from alignmeter.analysis.history.words import (
    differences_text,
    node_text,
    others_text,
    scope_text,
)
from alignmeter.analysis.metrics import METRICS, Metric
from alignmeter.analysis.nights import Night
from alignmeter.analysis.words import percent_text
from alignmeter.cells.naming import Naming
from alignmeter.records.record import Record
from alignmeter.text import plain as printable
from alignmeter_reports.drawing.svg import INK, LARGEST, PALETTE, literal, plain, settings, svg_text

TOLD = ("time", "memory", "energy")
"""Metrics whose changes are told. Tokens per s are made of the same times, and would tell each
change twice.
"""
_LEAST_RUNS = 3
_MOST_DRAWN = 12
"""Lines that changed, and as many that did not."""
_MOST_LISTED = 100
_LABELS = 6
_MINUS = "\N{MINUS SIGN}"
_MEASURED_WITH = ("driver", "runtime")
"""Fields of a run's settings that are marked where they change, beside the versions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeView:
    """One change in words. ``head``: the run and the one before it; ``what``: the cell; ``text``:
    the figures; ``reasons``: what else differs, and which machines changed.
    """

    change: ChangePoint
    head: str
    what: str
    text: str
    reasons: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Trend:
    """One metric of one cell over the runs. ``marks``: where driver or versions changed."""

    caption: str
    chart: Markup
    marks: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangesView:
    """``changed``: lines with a change, the newest first; ``calm``: step times without one.
    ``hidden``: changes that found no room, ``hidden_lines`` those of either kind.
    """

    runs: int
    series: int
    changed: list[Trend]
    calm: list[Trend]
    hidden_lines: int
    changes: list[ChangeView]
    hidden: int


def changes_view(
    records: Sequence[Record], nights: Sequence[Night], paths: Mapping[int, Path]
) -> ChangesView | None:
    """Change points over the runs; ``None`` where no cell was measured in three of them.

    ``paths``: ``id`` of a record -> its file. A run is what lies in one folder and was measured in
    one night: neither is pooled.
    """
    runs = _runs(nights, paths)
    if len(runs) < _LEAST_RUNS:
        return None
    pairs = ((name, record) for name, mine in runs.items() for record in mine)
    lines = series(pairs, TOLD)
    if all(len(line.points) < _LEAST_RUNS for line in lines):
        return None
    changes = sorted(change_points(lines), key=lambda c: c.started, reverse=True)
    cells = {record.cell.id: record.cell for record in records}
    naming = Naming(cells.values())
    names = {cell_id: naming.of(cell) for cell_id, cell in cells.items()}
    newest = {_line(change): number for number, change in reversed([*enumerate(changes)])}
    changed = sorted((line for line in lines if _line(line) in newest),
                     key=lambda line: newest[_line(line)])  # fmt: skip
    calm = [line for line in lines if METRICS[line.metric].speed and _line(line) not in newest
            and len(line.points) >= _LEAST_RUNS]  # fmt: skip
    several = len({line.node for line in lines}) > 1
    drawn = changed[:_MOST_DRAWN], calm[:_MOST_DRAWN]
    return ChangesView(
        runs=len(runs),
        series=len(lines),
        changed=[_trend(line, changes_of(line, changes), names) for line in drawn[0]],
        calm=[_trend(line, [], names) for line in drawn[1]],
        hidden_lines=len(changed) + len(calm) - sum(map(len, drawn)),
        changes=[_view(change, names, several=several) for change in changes[:_MOST_LISTED]],
        hidden=max(0, len(changes) - _MOST_LISTED),
    )


def _line(one: Series | ChangePoint) -> tuple[object, ...]:
    return one.cell_id, one.metric, one.kind, one.node


def _runs(nights: Sequence[Night], paths: Mapping[int, Path]) -> dict[str, list[Record]]:
    """Name -> records, in order of time. Folders of one night have their names behind it."""
    found: dict[str, list[Record]] = {}
    for night in nights:
        folders: dict[str, list[Record]] = defaultdict(list)
        for record in night.records:
            path = paths.get(id(record))
            folders["" if path is None else path.parent.name].append(record)
        for folder, mine in sorted(folders.items()):
            name = night.name if len(folders) == 1 else f"{night.name} {folder}".strip()
            found.setdefault(name, []).extend(mine)
    return found


def _view(change: ChangePoint, names: Mapping[str, str], *, several: bool) -> ChangeView:
    told = list(differences_text(change))
    if several:
        told.insert(0, f"on {node_text(change.node)}")
    return ChangeView(
        change=change,
        what=printable(names.get(change.cell_id, change.cell_id)),
        head=printable(f"{change.run}, after {change.run_before}"),
        text=printable(change_text(change)),
        reasons="; ".join(filter(None, [scope_text(change, several=several), *told])),
    )


def change_text(change: ChangePoint) -> str:
    """``step time +7.6 % [+7.2, +8.1], 318 ms to 342 ms``."""
    metric = METRICS[change.metric]
    sign = "+" if change.ratio > 1 else _MINUS
    bounds = "" if metric.exact else f" [{_bounds(change)}]"
    levels = f"{metric.text(change.before.value)} to {metric.text(change.after.value)}"
    return f"{metric.title} {sign}{percent_text(change.effect_percent)} %{bounds}, {levels}"


def _bounds(change: ChangePoint) -> str:
    return ", ".join(
        f"{100 * (bound - 1):+.1f}".replace("-", _MINUS) for bound in (change.low, change.high)
    )


def _trend(line: Series, changes: Sequence[ChangePoint], names: Mapping[str, str]) -> Trend:
    caption = f"{METRICS[line.metric].title}: {names.get(line.cell_id, line.cell_id)}"
    points = [point for point in line.points if 1 / LARGEST < point.value < LARGEST]
    marks = [(i, text) for i in range(1, len(points)) if (text := _mark(points[i - 1], points[i]))]
    return Trend(
        caption=printable(f"{caption}, {line.node.device} ({line.node.host})"),
        chart=_chart(line, points, changes, [place for place, _ in marks], caption),
        marks=[printable(f"{points[place].started[:10]}: {text}") for place, text in marks],
    )


def _mark(before: Point, after: Point) -> str:
    """``driver 570.1 -> 575.5``: what a run was measured with, where it is not what it was."""
    fields = [
        one
        for one in differences(before, after)
        if one.field in _MEASURED_WITH or one.field in _versions(before, after)
    ]
    return others_text(fields)


def _versions(*points: Point) -> set[str]:
    """Names of packages: fields of the settings that are spelled as one word, with a version."""
    return {name for point in points for name, value in point.settings.items()
            if "." not in name and value[:1].isdigit() and "." in value}  # fmt: skip


def _chart(
    line: Series,
    points: Sequence[Point],
    changes: Sequence[ChangePoint],
    marks: Sequence[int],
    title: str,
) -> Markup:
    metric = METRICS[line.metric]
    with settings():
        figure = Figure(figsize=(4.4, 2.1), layout="constrained")
        axes = figure.add_subplot()
        _draw(axes, points)
        places = {point.run: place for place, point in enumerate(points)}
        for change in changes:
            if change.run in places:
                axes.axvline(places[change.run] - 0.5, color=PALETTE[5], linestyle="--")
        for place in marks:
            axes.axvline(place - 0.5, color=INK, linestyle=":")
        _label_runs(axes, [point.started[:10] for point in points], metric)
        plain(figure, axes)
        effects = "; ".join(f"{c.run}: {c.effect_percent:+.2f} %" for c in changes)
        said = f"Changes: {effects}" if effects else "No change"
        text = svg_text(figure, f"{title} over {len(points)} runs", said)
    # matplotlib wrote it and escaped the labels.
    return Markup(text)  # noqa: S704


def _draw(axes: Axes, points: Sequence[Point]) -> None:
    """Each run's figure with its interval, where it has one."""
    values = [point.value for point in points]
    axes.plot(range(len(points)), values, color=PALETTE[0], marker="o", markersize=3, linewidth=1)
    for place, point in enumerate(points):
        if point.low is not None and point.high is not None:
            axes.plot([place, place], [point.low, point.high], color=PALETTE[0], linewidth=0.8)


def _label_runs(axes: Axes, days: Sequence[str], metric: Metric) -> None:
    every = max(1, len(days) // _LABELS)
    shown = range(0, len(days), every)
    axes.set_xticks(list(shown), [literal(days[i]) for i in shown], rotation=30, ha="right")
    axes.yaxis.set_major_formatter(lambda value, _: metric.text(value) if value > 0 else "")
