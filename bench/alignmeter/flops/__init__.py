"""FLOPs of a step, counted from the model's shape, and the share of the chip's peak that they are.

docs/flops.md has the formulas in one place.
"""

__all__ = ["StepFlops", "Utilisation", "step_flops", "uncounted", "utilisation"]

from alignmeter.flops.steps import StepFlops, step_flops, uncounted
from alignmeter.flops.utilisation import Utilisation, utilisation
