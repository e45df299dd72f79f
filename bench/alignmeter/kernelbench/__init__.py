"""Kernels timed beside what they replace, after a correctness check (`suites/bench_kernels.py`)."""

__all__ = [
    "BASELINES",
    "Comparison",
    "achieved",
    "bounded_step_s",
    "compare_kernel",
    "compare_lengths",
    "compare_step",
    "process_peak_bytes",
    "step_runner",
]

from alignmeter.kernelbench.baselines import BASELINES
from alignmeter.kernelbench.compare import Comparison, compare_kernel, compare_lengths
from alignmeter.kernelbench.process import bounded_step_s, process_peak_bytes
from alignmeter.kernelbench.rates import achieved
from alignmeter.kernelbench.steps import compare_step, step_runner
