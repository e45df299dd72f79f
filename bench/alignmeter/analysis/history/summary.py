"""Series and what is found in them, put together."""

__all__ = ["history"]

from collections import Counter
from collections.abc import Sequence

from alignmeter.analysis.history.absences import lost_cells, silent_nodes
from alignmeter.analysis.history.detection import FALSE_ALARMS, LEAST_RUNS, change_points, is_short
from alignmeter.analysis.history.nodes import node_differences
from alignmeter.analysis.history.result import History, Series
from alignmeter.analysis.metrics import METRICS


def history(found: Sequence[Series], rate: float = FALSE_ALARMS) -> History:
    """What changed in ``found``, and which nodes differ. Pure, like `change_points`."""
    changes = change_points(found, rate)
    invalid: Counter[str] = Counter()
    # Series that differ in kind alone count the same replicates.
    counts = {(one.cell_id, one.metric, one.node): one.invalid for one in found}
    for (_, metric, _), count in counts.items():
        invalid[metric] += count
    return History(
        runs=len({point.run for one in found for point in one.points}),
        cells=len({one.cell_id for one in found}),
        series=len(found),
        short=sum(map(is_short, found)),
        least_runs=LEAST_RUNS,
        invalid={metric: count for metric, count in invalid.items() if count},
        minimum={name: metric.minimum for name, metric in METRICS.items()},
        false_alarms=rate,
        nodes=sorted({one.node for one in found}),
        changes=changes,
        node_differences=node_differences(found, changes),
        lost=lost_cells(found),
        silent=silent_nodes(found),
    )
