"""NEW's figures in Bencher Metric Format, for a service that keeps a history.

https://bencher.dev/docs/reference/bencher-metric-format: benchmark -> measure -> value with its
bounds. ``latency`` is in ns and ``throughput`` per s, as Bencher's own measures of these names are.
"""

__all__ = ["bencher_json"]

import json

from alignmeter.analysis.compare.result import Comparison, Figure
from alignmeter.analysis.compare.words import cell_names
from alignmeter.analysis.metrics import METRICS


def bencher_json(comparison: Comparison) -> bytes:
    """Strict JSON. What is invalid is left out; without an interval there are no bounds."""
    names = cell_names(comparison)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in sorted(comparison.rows, key=lambda row: (row.cell_id, row.device)):
        if row.metric in METRICS and row.new is not None and row.verdict != "invalid":
            measures = found.setdefault(names[row.cell_id, row.device], {})
            metric = METRICS[row.metric]
            measures[metric.measure] = _metric(row.new, metric.factor)
    return json.dumps(found, indent=1, allow_nan=False).encode() + b"\n"


def _metric(figure: Figure, factor: float) -> dict[str, float]:
    bounds = {"value": figure.value, "lower_value": figure.low, "upper_value": figure.high}
    return {name: bound * factor for name, bound in bounds.items() if bound is not None}
