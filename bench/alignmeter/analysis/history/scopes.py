"""Node or software: what other nodes that run the same cell did when one of them changed."""

__all__ = ["with_scopes"]

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence

from msgspec.structs import replace

from alignmeter.analysis.history.result import ChangePoint, Node, Scope, Series
from alignmeter.analysis.intervals import LEAST_REPLICATES
from alignmeter.analysis.metrics import METRICS

_Key = tuple[str, str, str]
"""Cell, metric and kind: what is the same on every node."""


class _Watch:
    """One series with its times, and those times between which each of its changes lies."""

    def __init__(self, one: Series) -> None:
        self.node = one.node
        self.least = 1 if METRICS[one.metric].exact else LEAST_REPLICATES
        self.started = [point.started for point in one.points]
        self.commits = [point.commit for point in one.points]
        self.changes: list[ChangePoint] = []

    def bracket(self, change: ChangePoint) -> tuple[str, str]:
        """One run wider on each side where noise may hide the very run."""
        index = bisect_left(self.started, change.started)
        wider = 0 if change.p_value is None else 1
        first, last = max(0, index - 1 - wider), min(len(self.started) - 1, index + wider)
        return self.started[first], self.started[last]

    def saw(self, change: ChangePoint) -> bool:
        """Whether there are enough runs before and after the change to tell.

        Where the commit changed, a node that kept its own has not seen it.
        """
        before = bisect_right(self.started, change.started_before)
        after = bisect_left(self.started, change.started)
        if min(before, len(self.started) - after) < self.least:
            return False
        kept = self.commits[before - 1] == self.commits[after]
        return change.commit == change.commit_before or not kept

    def changed_like(self, change: ChangePoint, bracket: tuple[str, str]) -> bool:
        """A change in the same direction, between the same commits or at the same time."""
        for mine in self.changes:
            if (mine.ratio > 1) != (change.ratio > 1):
                continue
            commits = (mine.commit_before, mine.commit)
            if commits == (change.commit_before, change.commit) and len({*commits, ""}) == 3:
                return True
            first, last = self.bracket(mine)
            if first < bracket[1] and bracket[0] < last:
                return True
        return False


def with_scopes(changes: Sequence[ChangePoint], found: Sequence[Series]) -> list[ChangePoint]:
    """``changes`` in their order, each with the nodes that watched it and that changed alike."""
    watches: dict[_Key, dict[Node, _Watch]] = defaultdict(dict)
    for one in found:
        watches[one.cell_id, one.metric, one.kind][one.node] = _Watch(one)
    for change in changes:
        watches[_key(change)][change.node].changes.append(change)
    return [_scoped(change, watches[_key(change)]) for change in changes]


def _key(change: ChangePoint) -> _Key:
    return change.cell_id, change.metric, change.kind


def _scoped(change: ChangePoint, watches: dict[Node, _Watch]) -> ChangePoint:
    bracket = watches[change.node].bracket(change)
    changed, watching = [], []
    for node, watch in sorted(watches.items()):
        alike = node == change.node or watch.changed_like(change, bracket)
        if alike or watch.saw(change):
            watching.append(node.name)
            changed += [node.name] if alike else []
    return replace(
        change,
        scope=_scope(len(changed), len(watching)),
        nodes_changed=changed,
        nodes_watching=watching,
    )


def _scope(changed: int, watching: int) -> Scope:
    if watching == 1:
        return "only node"
    if changed == watching:
        return "all nodes"
    return "one node" if changed == 1 else "some nodes"
