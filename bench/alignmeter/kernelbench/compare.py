"""A kernel timed alone, or in turns with another way to compute the same: each round runs the
baseline, then the kernel.
"""

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
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import torch

from alignmeter.accelerators.base import Accelerator
from alignmeter.kernelbench.baselines import Baseline
from alignmeter.kernelbench.stopwatch import Call, Pace, Stopwatch
from alignmeter.worker.memory.cpu_events import CpuEvents, record_events
from alignmeter_kernels import KERNELS
from alignmeter_kernels.closeness import check_kernel
from alignmeter_kernels.inputs import Case
from alignmeter_kernels.kernel import Kernel


@dataclass(kw_only=True)
class Side:
    """One of the two. ``run`` does its work once. Times in s of each round, peak in bytes."""

    run: Call
    pace: Pace | None = None
    seconds: list[float] = field(default_factory=list)
    added_bytes: int | None = None


class Comparison:
    """Ours, and theirs unless it is alone: each runs once per call, on one accelerator."""

    def __init__(self, *, ours: Call, theirs: Call | None, accelerator: Accelerator) -> None:
        self.ours = Side(run=ours)
        self.theirs = None if theirs is None else Side(run=theirs)
        self._accelerator, self._stopwatch = accelerator, Stopwatch(accelerator)

    @property
    def _sides(self) -> list[Side]:
        """In the order in which a round runs them."""
        return [side for side in (self.theirs, self.ours) if side is not None]

    def warm_up(self) -> None:
        """Two calls of each: builds, autotuning and allocator growth are not timed, and the second
        says how many make a round.
        """
        for side in self._sides:
            side.run()
        for side in self._sides:
            side.pace = self._stopwatch.pace(side.run)

    def run_theirs(self) -> None:
        """One round of the baseline, if there is one: what a round begins with."""
        if self.theirs is not None:
            self._time(self.theirs)

    def run_ours(self) -> None:
        """One round of the kernel."""
        self._time(self.ours)

    def _time(self, side: Side) -> None:
        pace = side.pace or Pace(calls=1, flushes=1)
        side.seconds.append(self._stopwatch.seconds(side.run, pace))

    def measure_memory(self) -> None:
        """Bytes that one call adds to what is allocated, at its peak."""
        for side in self._sides:
            side.added_bytes = _added_bytes(side.run, self._accelerator)

    def summary(self) -> dict[str, Any]:
        """What a reader needs: medians, the ratio theirs/ours with its quartiles over rounds."""
        ours, theirs = self.ours, self.theirs
        found: dict[str, Any] = {
            "ours_s": statistics.median(ours.seconds), "rounds": len(ours.seconds),
            "ours_added_bytes": ours.added_bytes,
        }  # fmt: skip
        if theirs is None:
            return found
        pairs = [b / a for a, b in zip(ours.seconds, theirs.seconds, strict=True)]
        low, _, high = statistics.quantiles(pairs, n=4) if len(pairs) > 1 else (None,) * 3
        theirs_s = statistics.median(theirs.seconds)
        found |= {
            "theirs_s": theirs_s, "speedup": theirs_s / found["ours_s"],
            "speedup_quartiles": [low, high], "theirs_added_bytes": theirs.added_bytes,
        }  # fmt: skip
        if ours.added_bytes and theirs.added_bytes:
            found["memory_ratio"] = theirs.added_bytes / ours.added_bytes
        return found


def _added_bytes(call: Call, accelerator: Accelerator) -> int:
    gc.collect()
    accelerator.synchronise()
    before = accelerator.peaks(reset=True)
    with record_events() if before is None else nullcontext() as events:
        call()
    accelerator.synchronise()
    after = accelerator.peaks(reset=False)
    if before is not None and after is not None:
        return after.allocated_bytes - before.allocated_now_bytes
    return 0 if events is None else _peak(events)


def _peak(events: CpuEvents) -> int:
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
    """A call of ``run`` on the inputs: without gradients, or forward and backward.

    The gradient of the first output, the only one that a training step has, is drawn in the first
    call and given in each: summing outputs would be work and memory that no step asks for.
    """
    wanted = [tensor for tensor in inputs.values() if tensor.requires_grad]
    given: list[torch.Tensor] = []

    def forward() -> None:
        with torch.no_grad():
            run(**inputs, **case.options)

    def both() -> None:
        found = run(**inputs, **case.options)
        output = found[0] if isinstance(found, tuple) else found
        if not given:
            draw = torch.Generator().manual_seed(0)
            drawn = torch.randn(output.shape, generator=draw)
            given.append(drawn.to(device=output.device, dtype=output.dtype))
        torch.autograd.grad(output, wanted, given)

    return both if backward else forward


def compare_kernel(
    name: str,
    case_name: str,
    baseline: Baseline | None,
    *,
    backward: bool,
    accelerator: Accelerator,
) -> Comparison:
    """``name`` on one case, beside ``baseline`` or alone: fp32 on a CPU, bf16 elsewhere.

    Raises:
        AssertionError: if the kernel is wrong on its check case, on this device and path.
        KeyError: for an unknown kernel or case.
    """
    kernel, dtype, device = _checked(name, accelerator)
    case = find_case(kernel, case_name)
    inputs = case.make(device, dtype)
    theirs = None if baseline is None else one_pass(baseline.run, case, inputs, backward)
    ours = one_pass(kernel.operator, case, inputs, backward)
    return Comparison(ours=ours, theirs=theirs, accelerator=accelerator)


def compare_lengths(name: str, short: str, long: str, *, accelerator: Accelerator) -> Comparison:
    """``name`` on its ``long`` case, beside itself on the ``short`` one; forward and backward.

    Raises:
        AssertionError: if the kernel is wrong on its check case.
        KeyError: for an unknown kernel or case.
    """
    kernel, dtype, device = _checked(name, accelerator)
    ours, theirs = (
        one_pass(kernel.operator, case, case.make(device, dtype), backward=True)
        for case in (find_case(kernel, long), find_case(kernel, short))
    )
    return Comparison(ours=ours, theirs=theirs, accelerator=accelerator)


def _checked(name: str, accelerator: Accelerator) -> tuple[Kernel, torch.dtype, str]:
    """The kernel, once it agreed with its reference there, and where and in what it is timed."""
    kernel, device = find_kernel(name), str(accelerator.torch_device())
    dtype = torch.float32 if accelerator.device_type == "cpu" else torch.bfloat16
    check_kernel(kernel, kernel.check, device, dtype)
    return kernel, dtype, device
