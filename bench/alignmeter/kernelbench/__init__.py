"""Kernels timed beside what they replace, after a correctness check (`suites/bench_kernels.py`)."""

__all__ = [
    "BASELINES",
    "Comparison",
    "achieved",
    "compare_kernel",
    "compare_lengths",
    "compare_step",
    "process_peak_bytes",
]

from alignmeter.kernelbench.baselines import BASELINES
from alignmeter.kernelbench.compare import Comparison, compare_kernel, compare_lengths
from alignmeter.kernelbench.process import process_peak_bytes
from alignmeter.kernelbench.rates import achieved
from alignmeter.kernelbench.steps import compare_step
