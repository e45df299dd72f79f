"""What no figure tells: cells that a node stopped giving, and nodes that stopped altogether."""

__all__ = ["lost_cells", "silent_nodes"]

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise

from alignmeter.analysis.history.result import LostCell, Node, Series, SilentNode

_RUNS_BEFORE = 3
"""Runs of a node that are looked at before its newest; a cell in two of them was measured there
regularly, and a node with as many has a rhythm."""
_SILENT_GAPS = 2.0
"""Times the usual gap between a node's runs."""

_Runs = Mapping[Node, Mapping[str, datetime]]
"""Node -> its runs, in order of time, and when each started."""


def lost_cells(found: Sequence[Series]) -> list[LostCell]:
    """Cells without any figure in a node's newest run that had one in two of the three before it.

    In order of node and cell.
    """
    runs, cells = _runs(found), _cells(found)
    lost = []
    for node, started in sorted(runs.items()):
        *earlier, newest = started
        watched = earlier[-_RUNS_BEFORE:]
        for (where, cell_id), there in sorted(cells.items()):
            had = [run for run in watched if run in there]
            if where == node and newest not in there and len(had) >= _RUNS_BEFORE - 1:
                lost.append(LostCell(cell_id=cell_id, node=node, run=newest, last_run=had[-1]))
    return lost


def silent_nodes(found: Sequence[Series]) -> list[SilentNode]:
    """Nodes whose last run is further back than twice the usual gap between their runs, as others
    went on. Of one node alone nobody can say so.
    """
    runs = _runs(found)
    newest = max((max(started.values()) for started in runs.values()), default=None)
    silent = []
    for node, started in sorted(runs.items()):
        times = list(started.values())
        if newest is None or len(times) < _RUNS_BEFORE:
            continue
        gaps = [(after - before).total_seconds() for before, after in pairwise(times)]
        if (newest - times[-1]).total_seconds() > _SILENT_GAPS * statistics.median(gaps):
            silent.append(
                SilentNode(
                    node=node, last_run=list(started)[-1], last_started=times[-1].isoformat(),
                    newest_started=newest.isoformat(),
                )
            )  # fmt: skip
    return silent


def _runs(found: Sequence[Series]) -> _Runs:
    starts: dict[Node, dict[str, str]] = defaultdict(dict)
    for one in found:
        known = starts[one.node]
        for point in one.points:
            before = known.get(point.run)
            if before is None or point.started < before:  # texts of UTC are in order of time
                known[point.run] = point.started
    return {
        node: {
            run: datetime.fromisoformat(started)
            for run, started in sorted(runs.items(), key=lambda run: (run[1], run[0]))
        }
        for node, runs in starts.items()
    }


def _cells(found: Sequence[Series]) -> Mapping[tuple[Node, str], set[str]]:
    """Node and cell -> the runs in which it has a figure of any metric."""
    there: dict[tuple[Node, str], set[str]] = defaultdict(set)
    for one in found:
        there[one.node, one.cell_id].update(point.run for point in one.points)
    return there
