"""The planner: what a cell's step would need, for hardware that need not be here.

The cell's own step runs on tensors without data (torch's FakeTensorMode), so no second description
of it could drift from the first.
"""

__all__ = [
    "ALLOWANCE",
    "Allowance",
    "NotPlannedError",
    "box_cells",
    "boxed",
    "fits",
    "known_prediction",
    "largest_batch",
    "largest_seq_len",
    "lever_cells",
    "longest_on",
    "on_chip",
    "plan_cell",
    "plan_peak",
    "plans_on",
    "predict",
    "pulled",
]

from alignmeter.planner.fit import (
    ALLOWANCE,
    Allowance,
    fits,
    largest_batch,
    largest_seq_len,
    on_chip,
)
from alignmeter.planner.levers import box_cells, lever_cells
from alignmeter.planner.store import known_prediction, plan_cell, plan_peak
from alignmeter.planner.suggest import boxed, longest_on, plans_on, pulled
from alignmeter.planner.trace import NotPlannedError, predict
