"""The energy window: whole steps, one straight after the other, between two readings of the
device's counter.
"""

__all__ = ["LEAST_S", "LEAST_TICKS", "Steps", "Watched", "measure_window", "watch"]

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from alignmeter.telemetry.base import Sample
from alignmeter.worker.messages import EnergyWindow, StepSpans
from alignmeter.worker.meter import Meter

LEAST_S = 2.4
"""120 ticks of 20 ms, which NVML's counter may have. With both looks at the idle device it takes
3.4 s and less than a step on top.
"""
LEAST_TICKS = 120
"""The counter is read between two refreshes at both ends, so each end is wrong by at most one tick:
over 120 of them by at most 1 / 120 of the energy that the power cap allows.
"""
_WATCH_S = 0.5
_WATCH_LONGEST_S = 3.0
_WATCH_TICKS = 5
_POLL_S, _LATE_S = 0.002, 0.010
"""How often the counter is looked at, and from when on a look is late."""
_AVERAGED_S = 1.0
"""What a sensor of average power looks back on (nvml.h, nvmlDeviceGetPowerUsage: "power averaged
over 1 sec interval"). Right after an idle device it would be polled too low for as long.
"""


class Steps(Protocol):
    """Whole training steps, as the window wants them."""

    def agreed(self, count: int) -> int:
        """The largest ``count`` of all devices that take the steps together."""
        ...

    def run(self, count: int) -> None:
        """That many, one straight after the other; returns when the device has finished them."""
        ...

    def spans(self) -> list[StepSpans]:
        """When each ran, in order. It may take time, so it is asked after the last reading."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """What a look at the idle device gave. ``tick_s``: the longest time between two refreshes of
    the counter, ``None`` if it stood still.
    """

    tick_s: float | None
    mean_w: float | None


def measure_window(
    meter: Meter,
    steps: Steps,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> EnergyWindow:
    """Run whole steps for at least `LEAST_S` and `LEAST_TICKS` of the counter.

    Both readings are at edges where the device has finished. Without a counter and without a
    power sensor no step is run.
    """
    missing = meter.read().missing
    silent = "energy_j" in missing and "power_w" in missing
    if steps.agreed(int(silent)):
        text = missing["energy_j"] if silent else "another rank's device tells no energy"
        return EnergyWindow(unavailable=text)
    before = watch(meter, clock=clock, sleep=sleep)
    averages = steps.agreed(int(meter.target.capabilities.power_kind == "average"))
    lead = _run(steps, _AVERAGED_S, clock) if averages else 0
    first = meter.read()
    _run(steps, max(LEAST_S, LEAST_TICKS * (before.tick_s or 0.0)), clock)
    last = meter.read()
    return EnergyWindow(
        frozen=before.tick_s is None and "energy_j" not in missing,
        first=first,
        last=last,
        steps=steps.spans()[lead:],
        tick_s=before.tick_s,
        idle_before_w=before.mean_w,
        idle_after_w=watch(meter, clock=clock, sleep=sleep).mean_w,
    )


def _run(steps: Steps, least_s: float, clock: Callable[[], float]) -> int:
    """Whole steps for at least that long: how many.

    Their mean time so far tells how many are left, so that the device is waited for after the first
    one and at the end, and not after each.
    """
    start, done = clock(), 0
    while count := steps.agreed(_left(clock() - start, least_s, done)):
        steps.run(count)
        done += count
    return done


def _left(passed_s: float, least_s: float, done: int) -> int:
    """How many steps more fill ``least_s``, after ``done`` in ``passed_s``."""
    if passed_s >= least_s:
        return 0
    return math.ceil((least_s - passed_s) * done / passed_s) if done else 1


def watch(
    meter: Meter,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Watched:
    """Look at a device without work for 0.5 s, or up to 3 s until its counter moved six times.

    The mean power lies between two refreshes of the counter, so that no tick is cut; without a
    counter it is the mean of the power sensor.
    """
    seen = _Refreshes()
    watts: list[float] = []
    start = clock()
    while (passed := clock() - start) < _WATCH_LONGEST_S:
        sample = meter.read()
        seen.add(sample)
        if sample.power_w is not None:
            watts.append(sample.power_w)
        if passed >= _WATCH_S and (seen.count > _WATCH_TICKS or sample.energy_j is None):
            break
        sleep(_POLL_S)
    mean_w = seen.mean_w()
    if mean_w is None and watts:
        mean_w = statistics.fmean(watts)
    return Watched(tick_s=seen.tick_s(), mean_w=mean_w)


class _Refreshes:
    """When a counter moved. Times are its own clock where it has one.

    By the host's clock, a refresh that was seen late, because the host was busy, would pass for a
    long tick: it ends one, and begins none.
    """

    def __init__(self) -> None:
        self._points: list[tuple[float, float]] = []
        self._ticks: list[float] = []
        self._before: Sample | None = None
        self._prompt = False

    def add(self, sample: Sample) -> None:
        before, self._before = self._before, sample
        if before is None or before.energy_j is None or sample.energy_j is None:
            return
        passed = sample.monotonic_s - before.monotonic_s
        late = sample.device_s is None and passed > _LATE_S
        self._prompt = self._prompt and not late
        if sample.energy_j == before.energy_j:
            return
        when = sample.monotonic_s if sample.device_s is None else sample.device_s
        if self._prompt:
            self._ticks.append(when - self._points[-1][0])
        self._prompt = not late
        self._points.append((when, sample.energy_j))

    @property
    def count(self) -> int:
        return len(self._points)

    def tick_s(self) -> float | None:
        """The longest tick; without a prompt one the longest gap; ``None`` below two refreshes."""
        gaps = [later[0] - earlier[0] for earlier, later in pairwise(self._points)]
        return max(self._ticks or gaps, default=None)

    def mean_w(self) -> float | None:
        if self.count < 2:
            return None
        (begin_s, begin_j), (end_s, end_j) = self._points[0], self._points[-1]
        return (end_j - begin_j) / (end_s - begin_s)
