"""Two ways to compute one thing, timed in turns: each round runs the baseline, then the kernel."""

__all__ = [
    "Comparison",
    "compare_kernel",
    "compare_lengths",
    "find_case",
    "find_kernel",
    "one_pass",
]

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import torch

from alignmeter.kernelbench.baselines import Baseline
from alignmeter.worker.memory.cpu_events import record_events
from alignmeter_kernels import KERNELS
from alignmeter_kernels.closeness import check_kernel
from alignmeter_kernels.inputs import Case
from alignmeter_kernels.kernel import Kernel

Call = Callable[[], None]
_LEAST_S = 0.05


@dataclass(kw_only=True)
class Comparison:
    """``ours`` and ``theirs`` run once per call. Times in s of each round, peaks in bytes."""

    ours: Call
    theirs: Call
    device: str
    ours_s: list[float] = field(default_factory=list)
    theirs_s: list[float] = field(default_factory=list)
    ours_added_bytes: int | None = None
    theirs_added_bytes: int | None = None

    def warm_up(self) -> None:
        """One call of each: builds, autotuning and allocator growth are not timed."""
        self.theirs()
        self.ours()

    def run_theirs(self) -> None:
        """One timed call of the baseline: what a round begins with."""
        self.theirs_s.append(self._timed(self.theirs))

    def run_ours(self) -> None:
        """One timed call of the kernel."""
        self.ours_s.append(self._timed(self.ours))

    def measure_memory(self) -> None:
        """Bytes that one call adds to what is allocated, at its peak."""
        self.theirs_added_bytes = _added_bytes(self.theirs, self.device)
        self.ours_added_bytes = _added_bytes(self.ours, self.device)

    def _timed(self, call: Call) -> float:
        """Mean of as many calls as last 50 ms: a single short one would pay for the caches and
        pages that the other side has just taken."""
        _synchronise(self.device)
        start, calls = time.perf_counter(), 0
        while True:
            call()
            calls += 1
            _synchronise(self.device)
            seconds = time.perf_counter() - start
            if seconds >= _LEAST_S:
                return seconds / calls

    def summary(self) -> dict[str, Any]:
        """What a reader needs: medians, the ratio theirs/ours with its quartiles over rounds."""
        pairs = [b / a for a, b in zip(self.ours_s, self.theirs_s, strict=True)]
        low, _, high = statistics.quantiles(pairs, n=4) if len(pairs) > 1 else (None,) * 3
        ours, theirs = statistics.median(self.ours_s), statistics.median(self.theirs_s)
        found: dict[str, Any] = {
            "ours_s": ours, "theirs_s": theirs, "speedup": theirs / ours,
            "speedup_quartiles": [low, high], "rounds": len(pairs),
            "ours_added_bytes": self.ours_added_bytes,
            "theirs_added_bytes": self.theirs_added_bytes,
        }  # fmt: skip
        if self.ours_added_bytes and self.theirs_added_bytes:
            found["memory_ratio"] = self.theirs_added_bytes / self.ours_added_bytes
        return found


def _synchronise(device: str) -> None:
    if device != "cpu":
        torch.get_device_module(device).synchronize()


def _added_bytes(call: Call, device: str) -> int:
    gc.collect()
    if device != "cpu":
        module = torch.get_device_module(device)
        module.synchronize()
        module.reset_peak_memory_stats()
        before = module.memory_allocated()
        call()
        module.synchronize()
        return int(module.max_memory_allocated() - before)
    with record_events() as events:
        call()
    live = peak = 0
    for delta in events.deltas:
        live += delta
        peak = max(peak, live)
    return peak


def find_kernel(name: str) -> Kernel:
    """The entry of one kernel. Raises `KeyError` for an unknown one."""
    kernel: Kernel = import_module(KERNELS[name]).KERNEL
    return kernel


def find_case(kernel: Kernel, name: str) -> Case:
    """The case of that name. Raises `KeyError` for an unknown one."""
    return {case.name: case for case in kernel.cases}[name]


def one_pass(
    run: Callable[..., Any], case: Case, inputs: dict[str, torch.Tensor], backward: bool
) -> Call:
    """A call of ``run`` on the inputs: without gradients, or forward and backward."""

    def forward() -> None:
        with torch.no_grad():
            run(**inputs, **case.options)

    def both() -> None:
        found = run(**inputs, **case.options)
        outputs = found if isinstance(found, tuple) else (found,)
        sums = [out.float().sum() for out in outputs if out is not None and out.requires_grad]
        torch.stack(sums).sum().backward()
        for tensor in inputs.values():
            tensor.grad = None  # now, so that the next call's peak holds its own gradients

    return both if backward else forward


def compare_kernel(
    name: str, case_name: str, baseline: Baseline, *, backward: bool, device: str
) -> Comparison:
    """``name`` beside ``baseline`` on one case: fp32 on a CPU, bf16 elsewhere.

    Raises:
        AssertionError: if the kernel is wrong on its check case, on this device and path.
        KeyError: for an unknown kernel or case.
    """
    kernel = find_kernel(name)
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    check_kernel(kernel, kernel.check, device, dtype)
    case = find_case(kernel, case_name)
    inputs = case.make(device, dtype)
    return Comparison(
        ours=one_pass(kernel.operator, case, inputs, backward),
        theirs=one_pass(baseline.run, case, inputs, backward),
        device=device,
    )


def compare_lengths(name: str, short: str, long: str, *, device: str) -> Comparison:
    """``name`` on its ``long`` case, beside itself on the ``short`` one; forward and backward.

    Raises:
        AssertionError: if the kernel is wrong on its check case.
        KeyError: for an unknown kernel or case.
    """
    kernel = find_kernel(name)
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    check_kernel(kernel, kernel.check, device, dtype)
    ours, theirs = (
        one_pass(kernel.operator, case, case.make(device, dtype), backward=True)
        for case in (find_case(kernel, long), find_case(kernel, short))
    )
    return Comparison(ours=ours, theirs=theirs, device=device)
