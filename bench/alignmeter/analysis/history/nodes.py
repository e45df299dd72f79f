"""Levels of one cell on several nodes: a difference between them is no change in time."""

__all__ = ["node_differences"]

from collections import defaultdict
from collections.abc import Iterable, Sequence

from alignmeter.analysis.history.detection import level_of
from alignmeter.analysis.history.result import ChangePoint, NodeDifference, Point, Series
from alignmeter.analysis.history.settings import differences
from alignmeter.analysis.intervals import LEAST_REPLICATES, Estimate
from alignmeter.analysis.metrics import METRICS

_THE_NODE = ("host", "device", "uuid", "pci_bus_id")
"""Fields that name the node: they differ by definition."""


def node_differences(
    found: Sequence[Series], changes: Iterable[ChangePoint]
) -> list[NodeDifference]:
    """Nodes whose level is at least the smallest effect away from that of the node with most runs.

    Compared are the runs since the last change on either, as far as both ran at one time. Nodes
    that followed each other are compared at their seam. The whole interval must be past the
    smallest effect, so that many nodes give no false alarms. In order of cell, metric and node.
    """
    edges: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for change in changes:
        edges[change.cell_id, change.metric, change.kind, change.node].append(change.started)
    groups: dict[tuple[str, str, str], list[Series]] = defaultdict(list)
    for one in found:
        groups[one.cell_id, one.metric, one.kind].append(one)
    apart = []
    for key, group in groups.items():
        base = min(group, key=lambda one: (-len(one.points), one.node))
        for one in sorted(group, key=lambda one: one.node):
            if one is not base:
                mine, theirs = edges[(*key, one.node)], edges[(*key, base.node)]
                difference = _difference(one, mine, base, theirs)
                apart += [difference] if difference else []
    return apart


def _difference(
    one: Series, mine: Sequence[str], base: Series, theirs: Sequence[str]
) -> NodeDifference | None:
    ours, others = _since(one.points, mine), _since(base.points, theirs)
    first = max(ours[0].started, others[0].started)
    last = min(ours[-1].started, others[-1].started)
    together = first <= last
    if together:
        ours = [point for point in ours if first <= point.started <= last]
        others = [point for point in others if first <= point.started <= last]
    elif one.points[0].started > base.points[-1].started:
        ours = _until(one.points, mine)
    elif base.points[0].started > one.points[-1].started:
        others = _until(base.points, theirs)
    else:  # they ran at one time, but not since their last changes
        return None
    return _apart(one, ours, base, others, together=together)


def _since(points: Sequence[Point], edges: Sequence[str]) -> list[Point]:
    """The points of the last level."""
    return [point for point in points if not edges or point.started >= max(edges)]


def _until(points: Sequence[Point], edges: Sequence[str]) -> list[Point]:
    """The points of the first level."""
    return [point for point in points if not edges or point.started < min(edges)]


def _apart(
    one: Series, ours: Sequence[Point], base: Series, others: Sequence[Point], *, together: bool
) -> NodeDifference | None:
    """The difference, if it counts."""
    metric = METRICS[one.metric]
    if min(len(ours), len(others)) < (1 if metric.exact else LEAST_REPLICATES):
        return None
    new, old = [point.value for point in ours], [point.value for point in others]
    found = metric.ratio(new[:1], old[:1]) if metric.exact else metric.ratio(new, old)
    low, high = _bounds(found)
    if low < 1 + metric.minimum and high > 1 / (1 + metric.minimum):
        return None
    return NodeDifference(
        cell_id=one.cell_id,
        metric=one.metric,
        kind=one.kind,
        node=one.node,
        other=base.node,
        level=level_of(new, metric),
        other_level=level_of(old, metric),
        ratio=found.value,
        low=low,
        high=high,
        effect_percent=100 * (found.value - 1),
        together=together,
        differences=[d for d in differences(others[-1], ours[-1]) if d.field not in _THE_NODE],
    )


def _bounds(found: Estimate) -> tuple[float, float]:
    low, high = found.low, found.high
    return (found.value if low is None else low), (found.value if high is None else high)
