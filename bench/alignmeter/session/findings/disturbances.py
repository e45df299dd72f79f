"""What can spoil the time of a step, each found in what was noted beside the steps."""

__all__ = ["Timed", "disturbances", "fallen_back", "throttling"]

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from alignmeter.cells.cell import Cell
from alignmeter.records.reasons import Code
from alignmeter.records.record import VRAM, Reason
from alignmeter.session.findings.warmup import SETTLED, drift, is_settled
from alignmeter.session.sampling import Readings
from alignmeter.units import GIB, MIB, bytes_text

_LEAST_STEPS = 3
_BUSY_SHARE = 0.10
"""Others' share of the cores above which a median of five steps moved by 3 % and more here."""
_OTHERS_BYTES = 300 * MIB
"""A process that computes has a context: the smallest known takes 320 MiB, on a Titan V that had
0.9 MiB in use before (github.com/pytorch/pytorch/issues/28394).
"""
_LARGEST_CONTEXT_BYTES = 3 * GIB
"""What a process holds beside its allocator where nobody tells processes apart, at the most: its
context (0.5 GiB on an H100), code and handles of libraries, and the driver's own memory.
"""
_HARMLESS = frozenset({"idle", "clock_setting", "power_cap"})
"""Why a clock is low although nothing is wrong: no work, a limit that somebody set, and the power
cap, which bounds every large step on today's accelerators. Settings and cap stand in the record.
"""
_ONE_PATH = frozenset({"token_logprob"})
"""Operators that have no kernel to fall back from."""
_PORTABLE = "torch"


@dataclass(frozen=True, kw_only=True, slots=True)
class Timed:
    """The timed steps of a replicate and what was noted beside them.

    ``warmup_s``, ``step_s``: times of the steps in s. ``others_share``: median share of the host's
    cores that others used. ``swapped_bytes``: the worker's memory in swap before the first step and
    after each, ``None`` where nobody says. ``readings``: the sampler's, from first to last step.
    ``reserved_bytes``: the allocator's peak; ``device_used_bytes``: all that the runtime says is in
    use. ``kernel_path``: operator -> what ran.
    """

    step_s: Sequence[float]
    warmup_s: Sequence[float] = ()
    others_share: float = 0.0
    swapped_bytes: Sequence[int | None] = ()
    readings: Readings = field(default_factory=lambda: Readings([]))
    reserved_bytes: int | None = None
    device_used_bytes: int | None = None
    kernel_path: Mapping[str, str] = field(default_factory=dict)


def disturbances(timed: Timed, memory_kind: str) -> list[Reason]:
    """Everything that spoils the time, the kernels' path apart."""
    found = _few(timed), _unsettled(timed), _loaded(timed), _swapped(timed)
    others = _other_processes(timed) if memory_kind == VRAM else None
    return [r for r in (*found, others, throttling(timed.readings)) if r is not None]


def _few(timed: Timed) -> Reason | None:
    if len(timed.step_s) >= _LEAST_STEPS:
        return None
    return Reason(code=Code.TOO_FEW_STEPS, text=f"{len(timed.step_s)} timed steps")


def _unsettled(timed: Timed) -> Reason | None:
    if not timed.step_s:
        return None
    above = drift(timed.warmup_s, timed.step_s)
    if above is not None:
        text = f"the steps kept falling; their median is {above:.1%} above the last"
    elif len(timed.warmup_s) > 1 and not is_settled(timed.warmup_s):
        steps = len(timed.warmup_s)
        text = f"after {steps} warm-up steps the last was still the fastest by over {SETTLED:.0%}"
    else:
        return None
    return Reason(code=Code.WARMUP_UNSETTLED, text=text)


def _loaded(timed: Timed) -> Reason | None:
    if timed.others_share <= _BUSY_SHARE:
        return None
    text = f"others used {timed.others_share:.0%} of the cores during the timed steps"
    return Reason(code=Code.HOST_LOADED, text=text)


def _swapped(timed: Timed) -> Reason | None:
    """Pages that stay in swap cost nothing; those that go or come take the time of a disk."""
    known = [count for count in timed.swapped_bytes if count is not None]
    if not known or max(known) == min(known):
        return None
    text = f"between {bytes_text(min(known))} and {bytes_text(max(known))} were in swap"
    return Reason(code=Code.SWAP_USED, text=text)


def _other_processes(timed: Timed) -> Reason | None:
    count = timed.readings.others_bytes()
    if count is None:
        return _beyond_the_allocator(timed)
    if count <= _OTHERS_BYTES:
        return None
    text = f"{bytes_text(count)} of the device were not the worker's"
    return Reason(code=Code.OTHER_PROCESSES, text=text)


def _beyond_the_allocator(timed: Timed) -> Reason | None:
    """In a container the vendor's library lists no process of this PID namespace, and a device that
    others use looks like one's own; its memory in use still says so.
    """
    used = timed.readings.device_peak_bytes()
    used = timed.device_used_bytes if used is None else used
    if used is None or timed.reserved_bytes is None:
        return None
    beyond = used - timed.reserved_bytes
    if beyond <= _LARGEST_CONTEXT_BYTES:
        return None
    text = f"{bytes_text(beyond)} of the device beyond what the worker reserved, and more than any"
    return Reason(code=Code.OTHER_PROCESSES, text=f"{text} context takes")


def throttling(readings: Readings) -> Reason | None:
    """Why the device slowed down, if it had to."""
    samples = readings.samples
    slow = [s for s in samples if set(s.throttles or ()) - _HARMLESS]
    if not slow:
        return None
    words = ", ".join(word for word in readings.throttle_reasons() if word not in _HARMLESS)
    return Reason(code=Code.THROTTLED, text=f"{words} in {len(slow)} of {len(samples)} readings")


def fallen_back(cell: Cell, memory_kind: str, paths: Mapping[str, str]) -> Reason | None:
    """The operators of ``kernels = custom`` that ran their portable version on an accelerator.

    On a CPU that version is what there is without a compiler, and the record names it.
    """
    if cell.kernels != "custom" or memory_kind != VRAM:
        return None
    operators = [name for name in _portable(paths) if name not in _ONE_PATH]
    if not operators:
        return None
    text = f"{', '.join(operators)} ran in plain torch"
    return Reason(code=Code.KERNEL_FELL_BACK, text=text)


def _portable(paths: Mapping[str, str]) -> Iterable[str]:
    return sorted(name for name, path in paths.items() if path == _PORTABLE)
