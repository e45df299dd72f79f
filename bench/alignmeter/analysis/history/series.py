"""From records to series: one metric of one cell on one node, a point per run."""

__all__ = ["series"]

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from msgspec.structs import replace

from alignmeter.analysis.history.result import Node, Point, Series
from alignmeter.analysis.history.runs import moment
from alignmeter.analysis.history.settings import clocks_of, settings_of
from alignmeter.analysis.intervals import estimate
from alignmeter.analysis.likeness import ANYWHERE, Group
from alignmeter.analysis.metrics import METRICS, Metric
from alignmeter.analysis.sides import side_of
from alignmeter.records.record import Record

_Key = tuple[str, str, str, Node]


def series(runs: Iterable[tuple[str, Record]], metrics: Sequence[str] = ()) -> list[Series]:
    """A series for each cell, metric and node that has a figure, by cell, metric and node.

    ``runs``: records with the name of their run, the records of one run after each other, as
    `read_runs` gives them. ``metrics``: those that are wanted; none given: all. Records are let go
    as soon as they are read. Raises `InputError` if a record has no time of start.
    """
    chosen = [METRICS[name] for name in metrics or METRICS]
    points: dict[_Key, list[Point]] = defaultdict(list)
    invalid: dict[tuple[str, str, Node], int] = defaultdict(int)
    known: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
    for run, pairs in groupby(runs, key=lambda pair: pair[0]):
        for node, group in _groups(record for _, record in pairs):
            settings = settings_of(group.records)
            settings = known.setdefault(tuple(settings.items()), settings)
            started = min(moment(record, run) for record in group.records).isoformat()
            base = Point(
                run=run,
                started=started,
                commit=settings.get("commit", ""),
                value=math.nan,
                replicates=0,
                settings=settings,
                clocks_mhz=clocks_of(group.records),
            )
            for metric in chosen:
                found, kind, left_out = _point(base, group, metric)
                invalid[group.cell.id, metric.name, node] += left_out
                if found is not None:
                    points[group.cell.id, metric.name, kind, node].append(found)
    order = list(METRICS)
    return [
        Series(
            cell_id=cell_id,
            metric=metric,
            kind=kind,
            node=node,
            points=sorted(points[key], key=lambda point: (point.started, point.run)),
            invalid=invalid[cell_id, metric, node],
        )
        for key in sorted(points, key=lambda key: (key[0], order.index(key[1]), key[2:]))
        for cell_id, metric, kind, node in (key,)
    ]


def _groups(records: Iterable[Record]) -> Iterator[tuple[Node, Group]]:
    """The replicates of one run, by cell and node."""
    found: dict[tuple[str, Node], Group] = {}
    for record in records:
        said = record.provenance
        node = Node(
            host=said.host, device=said.device, device_id=said.uuid or said.pci_bus_id or ""
        )
        empty = Group(cell=record.cell, place=ANYWHERE)
        found.setdefault((record.cell.id, node), empty).records.append(record)
    for (_, node), group in found.items():
        yield node, group


def _point(base: Point, group: Group, metric: Metric) -> tuple[Point | None, str, int]:
    """The run's figure if it has one, what it is a figure of, and the replicates left out."""
    side = side_of(group, metric)
    if not side.values:
        return None, "", len(side.invalid_values)
    value, low, high = max(side.values), None, None
    if not metric.exact:
        found = estimate(side.values)
        value, low, high = found.value, found.low, found.high
    point = replace(base, value=value, low=low, high=high, replicates=len(side.values))
    return point, ", ".join(sorted(side.kinds)), len(side.invalid_values)
