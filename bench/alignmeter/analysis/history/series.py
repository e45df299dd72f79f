"""From figures to series: one metric of one cell on one node, a point per run."""

__all__ = ["read_series", "series"]

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from alignmeter.analysis.history.figures import Figures, kind_column, row_of
from alignmeter.analysis.history.result import Node, Point, Series
from alignmeter.analysis.history.runs import moment, read_runs
from alignmeter.analysis.history.settings import FlatOnce, median_clocks, settings_of
from alignmeter.analysis.history.stored import read_stored
from alignmeter.analysis.intervals import estimates
from alignmeter.analysis.likeness import time_of
from alignmeter.analysis.metrics import METRICS, Metric
from alignmeter.records.documents import STORE_FILE
from alignmeter.records.record import Record

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Key = tuple[str, str, str, Node]
_Found = tuple[float, float | None, float | None, int]
"""A figure, its interval, and over how many replicates."""
T = TypeVar("T")


def series(runs: Iterable[tuple[str, Record]], metrics: Sequence[str] = ()) -> list[Series]:
    """A series for each cell, metric and node that has a figure, by cell, metric and node.

    ``runs``: records with the name of their run, the records of one run after each other, as
    `read_runs` gives them. ``metrics``: those that are wanted; none given: all. Records are let go
    as soon as they are read. Raises `InputError` if a record has no time of start.
    """
    found = Figures()
    for run, pairs in groupby(runs, key=lambda pair: pair[0]):
        rows, flat = [], FlatOnce()
        for _, record in pairs:
            moment(record, run)
            rows.append(row_of(record, flat))
        found.add(run, rows)
    return _series_of(found, metrics)


def read_series(folder: Path, refused: list[str], metrics: Sequence[str] = ()) -> list[Series]:
    """Those of the runs below a folder, or in a store: of one, from its columns.

    ``refused``: see `read_runs`. Raises `InputError` if the folder does not exist.
    """
    if (folder / STORE_FILE).exists():
        return _series_of(read_stored(folder, refused), metrics)
    return series(read_runs(folder, refused), metrics)


def _series_of(figures: Figures, metrics: Sequence[str] = ()) -> list[Series]:
    """The same of figures, each of which has a time of start."""
    if not len(figures["run"]):
        return []
    groups = _grouped(figures)
    points: dict[_Key, list[Point]] = defaultdict(list)
    invalid: dict[tuple[str, str, Node], int] = defaultdict(int)
    for metric in (METRICS[name] for name in metrics or METRICS):
        for group, count in _left_out(figures, groups, metric):
            invalid[group.cell, metric.name, group.node] += count
        for group, kind, (value, low, high, replicates) in _found(figures, groups, metric):
            points[group.cell, metric.name, kind, group.node].append(
                Point(
                    run=group.run, started=group.started, commit=group.settings.get("commit", ""),
                    value=value, low=low, high=high, replicates=replicates,
                    settings=group.settings, clocks_mhz=group.clocks_mhz,
                )
            )  # fmt: skip
    order = list(METRICS)
    return [
        Series(
            cell_id=cell_id, metric=metric, kind=kind, node=node, points=points[key],
            invalid=invalid[cell_id, metric, node],
        )
        for key in sorted(points, key=lambda key: (key[0], order.index(key[1]), key[2:]))
        for cell_id, metric, kind, node in (key,)
    ]  # fmt: skip


class _Group(NamedTuple):
    """The replicates of one cell on one node in one run."""

    cell: str
    node: Node
    run: str
    started: str
    settings: dict[str, str]
    clocks_mhz: dict[str, float]


def _grouped(figures: Figures) -> list[_Group]:
    """Brings the rows in order of their groups, which are in order of time and run; column
    ``group`` says which is whose.
    """
    import numpy as np

    names, times = figures.runs.values, [time_of(t).isoformat() for t in figures.starts.values]
    texts = sorted(set(times))
    figures.take(np.lexsort([figures[name] for name in ("node", "cell", "run")]))
    own = np.stack([figures[name] for name in ("run", "cell", "node")])
    starts = np.flatnonzero([True, *np.any(own[:, 1:] != own[:, :-1], axis=0)])
    earliest = np.minimum.reduceat(_ranks(times)[figures["start"]], starts)
    order = np.lexsort((_ranks(names)[figures["run"][starts]], earliest))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    group = np.repeat(place, np.diff(starts, append=own.shape[1]))
    figures.take(rows := np.argsort(group, kind="stable"))
    figures.add_column("group", group[rows])
    starts = np.searchsorted(group[rows], np.arange(len(order)))
    run, cell, node = (figures[name][starts].tolist() for name in ("run", "cell", "node"))
    settings = _merged(figures, "setting", starts, figures.settings.values, settings_of)
    clocks = _merged(figures, "clocks", starts, figures.clocks.values, median_clocks)
    cells, nodes = figures.cells.values, figures.nodes.values
    return [
        _Group(cells[c], nodes[n], names[r], texts[t], made_with, mhz)
        for c, n, r, t, made_with, mhz in zip(
            cell, node, run, earliest[order].tolist(), settings, clocks, strict=True
        )
    ]


def _ranks(texts: Sequence[str]) -> "NDArray[Any]":
    """Of each text its place among all of them in order, equal ones at one place."""
    import numpy as np

    place = {text: number for number, text in enumerate(sorted(set(texts)))}
    return np.array([place[text] for text in texts], np.int64)


def _merged(
    figures: Figures,
    name: str,
    starts: "NDArray[Any]",
    values: Sequence[T],
    merge: Callable[[Iterable[T]], Any],
) -> Iterator[Any]:
    """What is said of each group, from what each of its replicates says; equal groups share it."""
    codes = figures[name].tolist()
    known: dict[tuple[int, ...], Any] = {}
    ends = [*starts.tolist(), len(codes)]
    for start, end in pairwise(ends):
        said = tuple(codes[start:end])
        if said not in known:
            known[said] = merge(values[code] for code in said if code >= 0)
        yield known[said]


def _left_out(
    figures: Figures, groups: Sequence[_Group], metric: Metric
) -> Iterator[tuple[_Group, int]]:
    """Groups with replicates whose figure is invalid, and how many."""
    import numpy as np

    bad = ~np.isnan(figures[metric.name]) & (figures[kind_column(metric.name)] < 0)
    counts = np.bincount(figures["group"][bad], minlength=len(groups))
    for number in np.flatnonzero(counts).tolist():
        yield groups[number], int(counts[number])


def _found(
    figures: Figures, groups: Sequence[_Group], metric: Metric
) -> Iterator[tuple[_Group, str, _Found]]:
    """Groups that have a figure, what it is a figure of, and the figure."""
    import numpy as np

    values, kinds = figures[metric.name], figures[kind_column(metric.name)]
    valid = ~np.isnan(values) & (kinds >= 0)
    group, values, kinds = figures["group"][valid], values[valid], kinds[valid]
    if not len(group):
        return
    numbers, starts = np.unique(group, return_index=True)
    texts = figures.kinds.values
    listed = kinds.tolist()
    ends = [*starts.tolist(), len(listed)]
    figures_of = _figures(values, starts, metric)
    for number, (start, end), found in zip(
        numbers.tolist(), pairwise(ends), figures_of, strict=True
    ):
        said = {texts[kind] for kind in listed[start:end]}
        yield groups[number], ", ".join(sorted(said)), found


def _figures(values: "NDArray[Any]", starts: "NDArray[Any]", metric: Metric) -> Iterable[_Found]:
    """One for each group of values: bytes as the largest, anything else their geometric mean."""
    import numpy as np

    if not metric.exact:
        return ((e.value, e.low, e.high, e.n) for e in estimates(values, starts))
    counts = np.diff(starts, append=len(values)).tolist()
    largest = np.maximum.reduceat(values, starts).tolist()
    return ((value, None, None, n) for value, n in zip(largest, counts, strict=True))
