"""Many runs in order of time: change points per cell and metric, and nodes that differ."""

__all__ = [
    "FALSE_ALARMS",
    "ChangePoint",
    "Difference",
    "History",
    "Level",
    "Node",
    "NodeDifference",
    "Point",
    "Series",
    "change_points",
    "changes_of",
    "history",
    "node_differences",
    "HISTORY_FIELDS",
    "RULES",
    "history_columns",
    "read_runs",
    "read_series",
    "series",
]

from alignmeter.analysis.history.detection import FALSE_ALARMS, change_points, changes_of
from alignmeter.analysis.history.nodes import node_differences
from alignmeter.analysis.history.result import (
    ChangePoint,
    Difference,
    History,
    Level,
    Node,
    NodeDifference,
    Point,
    Series,
)
from alignmeter.analysis.history.runs import read_runs
from alignmeter.analysis.history.series import read_series, series
from alignmeter.analysis.history.stored import HISTORY_FIELDS, RULES, history_columns
from alignmeter.analysis.history.summary import history
