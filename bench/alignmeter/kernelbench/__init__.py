"""Kernels timed beside what they replace, after a correctness check (`suites/bench_kernels.py`)."""

__all__ = ["BASELINES", "Comparison", "compare_kernel", "compare_step"]

from alignmeter.kernelbench.baselines import BASELINES
from alignmeter.kernelbench.compare import Comparison, compare_kernel
from alignmeter.kernelbench.steps import compare_step
