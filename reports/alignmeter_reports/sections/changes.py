"""Levels that changed over the runs of a report, drawn over time."""

__all__ = ["ChangeView", "ChangesView", "changes_view"]

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alignmeter.analysis.history import ChangePoint, Series, change_points, changes_of, series
from alignmeter.analysis.history.words import differences_text, head_text, scope_text
from alignmeter.analysis.metrics import METRICS, Metric
from alignmeter.records.record import Record
from alignmeter_reports.drawing.svg import INK, LARGEST, PALETTE, literal, plain, settings, svg_text

_LEAST_RUNS = 3
_MOST_DRAWN = 12
_MOST_LISTED = 100
_LABELS = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeView:
    """One change in words, with its figures as text."""

    change: ChangePoint
    head: str
    differences: str
    scope: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangesView:
    """``charts``: of the series that changed. ``hidden``: changes that found no room."""

    runs: int
    series: int
    charts: list[Markup]
    changes: list[ChangeView]
    hidden: int


def changes_view(records: Sequence[Record], paths: Mapping[int, Path]) -> ChangesView | None:
    """Change points over the folders that the records lie in; ``None`` below three of them.

    ``paths``: ``id`` of a record -> its file.
    """
    folders = {path.parent for path in paths.values()}
    if len(folders) < _LEAST_RUNS:
        return None
    names = _names(folders)
    placed = [record for record in records if id(record) in paths]
    placed.sort(key=lambda record: str(paths[id(record)].parent))
    lines = series((names[paths[id(record)].parent], record) for record in placed)
    changes = change_points(lines)
    several = len({line.node for line in lines}) > 1
    changed = [(line, mine) for line in lines if (mine := changes_of(line, changes))]
    return ChangesView(
        runs=len(folders),
        series=len(lines),
        charts=[_chart(line, mine) for line, mine in changed[:_MOST_DRAWN]],
        changes=[_view(change, several=several) for change in changes[:_MOST_LISTED]],
        hidden=max(0, len(changes) - _MOST_LISTED),
    )


def _names(folders: set[Path]) -> dict[Path, str]:
    """The folder's own name; with its parent's where two have the same."""
    count = Counter(folder.name for folder in folders)
    return {
        folder: folder.name if count[folder.name] == 1 else f"{folder.parent.name}/{folder.name}"
        for folder in folders
    }


def _view(change: ChangePoint, *, several: bool) -> ChangeView:
    metric = METRICS[change.metric]
    return ChangeView(
        change=change,
        head=head_text(change, several=several),
        differences="; ".join(differences_text(change)),
        scope=scope_text(change, several=several),
        before=metric.text(change.before.value),
        after=metric.text(change.after.value),
    )


def _chart(line: Series, changes: Sequence[ChangePoint]) -> Markup:
    metric = METRICS[line.metric]
    points = [point for point in line.points if 1 / LARGEST < point.value < LARGEST]
    with settings():
        figure = Figure(figsize=(5.2, 2.6), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(
            range(len(points)), [p.value for p in points],
            color=PALETTE[0], marker="o", markersize=3, linewidth=1,
        )  # fmt: skip
        places = {point.run: place for place, point in enumerate(points)}
        for change in changes:
            if change.run in places:
                axes.axvline(places[change.run] - 0.5, color=PALETTE[5], linestyle="--")
        _label_runs(axes, [point.started[:10] for point in points], metric)
        axes.set_title(literal(line.cell_id), fontsize=8, color=INK, loc="left")
        plain(figure, axes)
        effects = "; ".join(f"{c.run}: {c.effect_percent:+.2f} %" for c in changes)
        text = svg_text(figure, f"{line.metric} of {line.cell_id} over runs", f"Changes: {effects}")
    # matplotlib wrote it and escaped the labels.
    return Markup(text)  # noqa: S704


def _label_runs(axes: Axes, days: Sequence[str], metric: Metric) -> None:
    every = max(1, len(days) // _LABELS)
    shown = range(0, len(days), every)
    axes.set_xticks(list(shown), [literal(days[i]) for i in shown], rotation=30, ha="right")
    axes.yaxis.set_major_formatter(lambda value, _: metric.text(value) if value > 0 else "")
    axes.set_ylabel(metric.name)
