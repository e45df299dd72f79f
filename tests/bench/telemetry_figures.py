"""How well telemetry does, against a truth that a script knows: for ``tox -e telemetry``.

A virtual clock drives the vendor's stub library; the vendor's own client and this project's
adapter read it; the session's own window and account make the figures.
"""

import math
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace
from stub_libraries import Clock

from alignmeter.cells.settings import DEFAULTS
from alignmeter.session.findings.energy import settle
from alignmeter.session.resolve import resolve_cell
from alignmeter.telemetry.base import Sample, Telemetry
from alignmeter.telemetry.sampler import Sampled, SamplerProcess
from alignmeter.worker.energy_window import measure_window
from alignmeter.worker.messages import StepSpans, Target
from alignmeter.worker.workload import Workload

HIGH_W, LOW_W, SHARE = 600.0, 200.0, 0.6
MEAN_W = SHARE * HIGH_W + (1 - SHARE) * LOW_W
"""440 W: a step is one period of the wave, so whole steps use this whatever their phase."""
_SAMPLE_S = 0.05
_GOLDEN = (math.sqrt(5.0) - 1) / 2


class ScriptedMeter:
    """A device on the virtual clock, with the sampler's readings taken on the way."""

    def __init__(self, telemetry: Telemetry, clock: Clock) -> None:
        (device,) = telemetry.devices()[:1]
        self._telemetry, self._device, self._clock = telemetry, device, clock
        self.samples: list[Sample] = []
        self.target = Target(
            device=device,
            identity=telemetry.identity(device),
            capabilities=telemetry.capabilities(device),
        )

    def read(self) -> Sample:
        return replace(self._telemetry.read(self._device), monotonic_s=self._clock.now_s)

    def step(self, seconds: float) -> StepSpans:
        """A step of that time, sampled at 20 Hz."""
        start, end = self._clock.now_s, self._clock.now_s + seconds
        due = (math.floor(start / _SAMPLE_S) + 1) * _SAMPLE_S
        while due < end:
            self._clock.set(due)
            self.samples.append(self.read())
            due += _SAMPLE_S
        self._clock.set(end)
        return StepSpans(start_s=start, end_s=end, phases=[("step", start, end)])


class ScriptedSteps:
    """Steps of that time, one straight after the other, on that device."""

    def __init__(self, meter: ScriptedMeter, seconds: float) -> None:
        self._meter, self._seconds = meter, seconds
        self._listed: list[StepSpans] = []

    def agreed(self, count):
        return count

    def run(self, count: int) -> None:
        self._listed += [self._meter.step(self._seconds) for _ in range(count)]

    def spans(self) -> list[StepSpans]:
        return self._listed


@dataclass
class Errors:
    """Over all windows: the largest errors in per cent, how often the bound held the truth, and the
    most time that one took, both looks at the idle device included.
    """

    windows: int = 0
    counter: float = 0.0
    polled: float = 0.0
    bound: float = 0.0
    held: int = 0
    cost_s: float = 0.0


def energy_errors(telemetry: Telemetry, clock: Clock, step_s: float, windows: int) -> Errors:
    """Windows at phases spread evenly over 4 s, each with the truth it should have found."""
    found, truth = Errors(), MEAN_W * step_s
    for k in range(windows):
        clock.set(1.0 + 4.0 * (k * _GOLDEN % 1.0))
        meter = ScriptedMeter(telemetry, clock)
        start = clock.now_s
        window = measure_window(
            meter,
            ScriptedSteps(meter, step_s),
            clock=lambda: clock.now_s,
            sleep=clock.advance,
        )
        energy = settle(window, meter.target, meter.samples)
        assert energy.source == "counter", energy.reason
        off = abs(energy.per_step_j - truth)
        found.windows += 1
        found.cost_s = max(found.cost_s, clock.now_s - start)
        found.counter = max(found.counter, 100 * off / truth)
        found.bound = max(found.bound, 100 * energy.bound_j / truth)
        found.held += off <= energy.bound_j
        found.polled = max(found.polled, 100 * abs(energy.polled_per_step_j - truth) / truth)
    return found


def ratio_interval(pairs: list[tuple[float, float]]) -> tuple[float, float, float]:
    """Geometric mean of first over second with its 95 % t-interval on logs."""
    from scipy import stats

    logs = [math.log(first / second) for first, second in pairs]
    mean, spread = statistics.fmean(logs), statistics.stdev(logs) / math.sqrt(len(logs))
    half = stats.t.ppf(0.975, len(logs) - 1) * spread
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def sampler_cost(accelerator: str, device: str, *, hz: float, seconds: float) -> Sampled:
    """What a sampler found beside this process in that time; its ``cpu_s`` is its cost."""
    sampler = SamplerProcess(accelerator, device, pid=os.getpid(), hz=hz, longest_s=2 * seconds)
    while sampler.written < 1:
        time.sleep(0.01)
    time.sleep(seconds)
    return sampler.stop()


def steps_beside_sampler(
    load: Workload, accelerator: str, device: str, *, pairs: int, steps: int
) -> list[tuple[float, float]]:
    """(median step with a sampler at 20 Hz, median without) in s, the sides in turns."""
    found = []
    for k in range(pairs):
        times = {}
        for beside in (True, False) if k % 2 else (False, True):
            sampler = None
            if beside:
                sampler = SamplerProcess(
                    accelerator, device, pid=os.getpid(), hz=DEFAULTS.sample_hz, longest_s=60.0
                )
                while sampler.written < 1:
                    time.sleep(0.01)
            times[beside] = statistics.median(load.step().seconds for _ in range(steps))
            if sampler is not None:
                sampler.stop()
        found.append((times[True], times[False]))
    return found


def workload(**axes: str | int) -> Workload:
    """A real cell on the CPU in this process, warm."""
    load = Workload(resolve_cell({"accelerator": "cpu", "data": "synthetic", **axes}).cell, 0)
    load.build()
    for _ in range(3):
        load.step()
    return load


def devices_start_s() -> float:
    """Wall time of one ``alignmeter devices``."""
    start = time.perf_counter()
    command = Path(sys.executable).with_name("alignmeter")
    subprocess.run([command, "devices"], check=True, capture_output=True)
    return time.perf_counter() - start
