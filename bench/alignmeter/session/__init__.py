"""Sessions: from a choice of axes to a record, each replicate in a process of its own."""

__all__ = [
    "Planned",
    "Replicate",
    "Settings",
    "input_notes",
    "measure",
    "plan_matrix",
    "resolve_plan",
    "run_matrix",
]

from alignmeter.cells.settings import Settings
from alignmeter.session.replicate import Replicate, measure
from alignmeter.session.resolve import Planned, input_notes, plan_matrix, resolve_plan
from alignmeter.session.run import run_matrix
