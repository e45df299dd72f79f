"""Change points of series: of bytes by comparison, of everything else by E-divisive."""

__all__ = ["FALSE_ALARMS", "LEAST_RUNS", "change_points", "changes_of", "is_short", "level_of"]

import math
from collections.abc import Iterable, Sequence

from alignmeter.analysis.history.result import ChangePoint, Level, Node, Series
from alignmeter.analysis.history.scopes import with_scopes
from alignmeter.analysis.history.settings import differences
from alignmeter.analysis.intervals import Estimate, estimate, exact_ratio, outcome, ratio
from alignmeter.analysis.metrics import METRICS, Metric

FALSE_ALARMS = 0.05
"""The largest expected share of changes that are none, over all series of a history."""
LEAST_RUNS = 6
"""Three runs a level: with fewer there is no interval."""


def is_short(one: Series) -> bool:
    """Whether there are too few runs to tell a change from noise; bytes have none."""
    return not METRICS[one.metric].exact and len(one.points) < LEAST_RUNS


def change_points(found: Sequence[Series], rate: float = FALSE_ALARMS) -> list[ChangePoint]:
    """Every change of at least the metric's smallest effect, in order of time.

    ``rate``: the bound on false alarms over all of ``found`` together, a share of 1. Pure: equal
    series give equal changes.
    """
    exact = [one for one in found if METRICS[one.metric].exact]
    noisy = [one for one in found if not METRICS[one.metric].exact]
    marks = [(one, _steps(one)) for one in exact]
    marks += list(zip(noisy, _divided(noisy, rate), strict=True))
    changes = [change for one, indices in marks for change in _changes(one, indices)]
    return with_scopes(sorted(changes, key=_in_time), found)


def _in_time(change: ChangePoint) -> tuple[str, str, str, int, str, Node]:
    metric = list(METRICS).index(change.metric)
    return change.started, change.run, change.cell_id, metric, change.kind, change.node


def changes_of(one: Series, changes: Iterable[ChangePoint]) -> list[ChangePoint]:
    """Those of one series, in order of time."""
    key = (one.cell_id, one.metric, one.kind, one.node)
    return [c for c in changes if (c.cell_id, c.metric, c.kind, c.node) == key]


def _figures(one: Series) -> list[float]:
    return [point.value for point in one.points]


def _divided(noisy: Sequence[Series], rate: float) -> list[dict[int, float | None]]:
    """For each series: index of the first run of a new level -> p-value."""
    from alignmeter.analysis.history.control import splits  # numpy takes time to import

    logs = [[math.log(value) for value in _figures(one)] for one in noisy]
    minimum = [METRICS[one.metric].minimum for one in noisy]
    return [
        _kept(one, {split.index: split.p_value for split in found})
        for one, found in zip(noisy, splits(logs, minimum, rate), strict=True)
    ]


def _kept(one: Series, marks: dict[int, float | None]) -> dict[int, float | None]:
    """Without the splits whose two levels are too near, the nearest first: their levels join."""
    metric, kept = METRICS[one.metric], dict(marks)
    while kept:
        found = {index: _ratio_at(one, kept, index) for index in kept}
        near = [
            (abs(math.log(r.value)), index)
            for index, r in found.items()
            if outcome(r, metric.minimum) not in ("regressed", "improved")
        ]
        if not near:
            break
        del kept[min(near)[1]]
    return kept


def _parts(one: Series, marks: Iterable[int], index: int) -> tuple[list[float], list[float]]:
    """The figures of the level that ends before ``index`` and of the one that starts there."""
    figures, edges = _figures(one), sorted(marks)
    at = edges.index(index)
    start = edges[at - 1] if at else 0
    end = edges[at + 1] if at + 1 < len(edges) else len(figures)
    return figures[start:index], figures[index:end]


def _ratio_at(one: Series, marks: Iterable[int], index: int) -> Estimate:
    before, after = _parts(one, marks, index)
    return ratio(after, before)


def _steps(one: Series) -> dict[int, float | None]:
    """Where bytes differ from those that their level started with: a slow growth is found, too."""
    metric, level = METRICS[one.metric], one.points[0].value
    found: dict[int, float | None] = {}
    for index, value in enumerate(_figures(one)):
        if value == level:
            continue
        change = exact_ratio([int(value)], [int(level)])
        if outcome(change, metric.minimum) in ("regressed", "improved"):
            found[index] = None
            level = value
    return found


def level_of(figures: Sequence[float], metric: Metric) -> Level:
    """A level over runs: bytes as it started, anything else the geometric mean."""
    if metric.exact:
        return Level(value=figures[0], runs=len(figures))
    found = estimate(figures)
    return Level(value=found.value, low=found.low, high=found.high, runs=found.n)


def _changes(one: Series, marks: dict[int, float | None]) -> Iterable[ChangePoint]:
    metric = METRICS[one.metric]
    for index, p_value in sorted(marks.items()):
        before, after = _parts(one, marks, index)
        if metric.exact:  # a level of bytes is what it began with
            before, after = before[:1], after[:1]
        found = metric.ratio(after, before)
        last, first = one.points[index - 1], one.points[index]
        worse = (found.value > 1) != metric.higher_is_better
        yield ChangePoint(
            cell_id=one.cell_id,
            metric=one.metric,
            kind=one.kind,
            node=one.node,
            run=first.run,
            started=first.started,
            commit=first.commit,
            run_before=last.run,
            started_before=last.started,
            commit_before=last.commit,
            before=level_of(before, metric),
            after=level_of(after, metric),
            ratio=found.value,
            low=found.value if found.low is None else found.low,
            high=found.value if found.high is None else found.high,
            effect_percent=100 * (found.value - 1),
            verdict="regressed" if worse else "improved",
            p_value=p_value,
            differences=differences(last, first),
        )
