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
    "print_history",
    "read_runs",
    "series",
]

from alignmeter.history.detection import FALSE_ALARMS, change_points, changes_of
from alignmeter.history.nodes import node_differences
from alignmeter.history.result import (
    ChangePoint,
    Difference,
    History,
    Level,
    Node,
    NodeDifference,
    Point,
    Series,
)
from alignmeter.history.runs import read_runs
from alignmeter.history.series import series
from alignmeter.history.summary import history
from alignmeter.history.terminal import print_history
