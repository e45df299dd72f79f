"""FLOPs of a step, counted from the model's shape.

docs/flops.md has the formulas in one place.
"""

__all__ = ["StepFlops", "step_flops", "uncounted"]

from alignmeter.flops.steps import StepFlops, step_flops, uncounted
