"""alignmeter: what alignment training costs, measured on the hardware at hand.

Importing this package does no work: torch is loaded by the floors that need it, and each name below
by whoever asks for it.
"""

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = [
    "AlignmeterError",
    "Comparison",
    "InputError",
    "NotPlannedError",
    "Prediction",
    "Record",
    "__version__",
    "compare",
    "plan",
    "read_records",
    "report",
    "run_cell",
]

_PLACES = {
    "AlignmeterError": "alignmeter.errors",
    "Comparison": "alignmeter.analysis.compare",
    "InputError": "alignmeter.errors",
    "NotPlannedError": "alignmeter.planner",
    "Prediction": "alignmeter.records.prediction",
    "Record": "alignmeter.records.record",
    "compare": "alignmeter.runs.api",
    "plan": "alignmeter.runs.api",
    "read_records": "alignmeter.runs.api",
    "report": "alignmeter.runs.api",
    "run_cell": "alignmeter.runs.api",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'alignmeter' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)
