"""A sampler beside one replicate: started and ended with it, and what it adds to the record."""

__all__ = ["Readings", "Sampling", "longest_gap_s"]

import statistics
import time
from collections.abc import Iterable, Sequence
from itertools import pairwise

from alignmeter.records.record import Reason, Telemetry
from alignmeter.records.timeline import FIGURE_FIELDS, Mark, Timeline
from alignmeter.telemetry.base import Sample
from alignmeter.telemetry.sampler import Sampled, SamplerProcess
from alignmeter.worker.messages import StepSpans, Target

_OFF = Reason(code="sampler_off", text="--sample-hz 0")


class Sampling:
    """The sampler's readings and the marks of stages and phases, on one clock."""

    def __init__(self, rate_hz: float) -> None:
        """``rate_hz``: 0 samples nothing."""
        self._rate_hz = rate_hz
        self._process: SamplerProcess | None = None
        self._origin = time.monotonic()
        self._marks: list[Mark] = []
        self._reason = _OFF if rate_hz == 0 else None
        self._source: str | None = None
        self._sampled = Sampled()

    @property
    def pid(self) -> int | None:
        """Process id of the sampler while it runs."""
        return None if self._process is None else self._process.pid

    @property
    def samples(self) -> Sequence[Sample]:
        """What was read; complete after `stop`."""
        return self._sampled.samples

    def start(self, accelerator: str, target: Target, worker_pid: int, longest_s: float) -> None:
        """Start it, if there is something to read."""
        self._source = target.library
        if target.device is None:
            text = target.reason or "no device"
            self._reason = Reason(code="telemetry_unavailable", text=text)
        elif self._rate_hz > 0:
            self._process = SamplerProcess(
                accelerator, target.device, pid=worker_pid, hz=self._rate_hz, longest_s=longest_s
            )

    def mark(self, stage: str, start_s: float, end_s: float) -> None:
        """A stage ran from ``start_s`` to ``end_s`` of the monotonic clock."""
        self._marks.append(
            Mark(stage=stage, start_s=start_s - self._origin, end_s=end_s - self._origin)
        )

    def mark_steps(self, stage: str, steps: Iterable[StepSpans]) -> None:
        """The stage of these steps, and their phases."""
        listed = list(steps)
        if listed:
            self.mark(stage, listed[0].start_s, listed[-1].end_s)
        for number, step in enumerate(listed):
            for phase, start, end in step.phases:
                start, end = start - self._origin, end - self._origin
                self._marks.append(
                    Mark(stage=stage, start_s=start, end_s=end, step=number, phase=phase)
                )

    def stop(self) -> None:
        """End the sampler and keep what it read."""
        if self._process is not None:
            self._sampled = self._process.stop()
            self._process = None
            if self._sampled.failure is not None:
                code, text = self._sampled.failure
                self._reason = Reason(code=code, text=text)

    def telemetry(self) -> Telemetry:
        """The record's word on the sampler."""
        samples = self._sampled.samples
        length = samples[-1].monotonic_s - samples[0].monotonic_s if samples else 0.0
        return Telemetry(
            source=self._source,
            reason=self._reason,
            rate_hz=self._rate_hz or None,
            samples=len(samples),
            overwritten=self._sampled.overwritten,
            longest_gap_s=longest_gap_s(samples),
            cpu_share=self._sampled.cpu_s / length if length > 0.0 else None,
            missing=self._sampled.missing,
        )

    def timeline(self) -> Timeline | None:
        """What stands beside the record; ``None`` without samples."""
        if not self._sampled.samples:
            return None
        marks = sorted(self._marks, key=lambda mark: (mark.start_s, bool(mark.phase)))
        return Timeline(marks=marks, samples=[self._row(s) for s in self._sampled.samples])

    def _row(self, sample: Sample) -> dict[str, float | int | str | None]:
        row = {name: getattr(sample, name) for name in FIGURE_FIELDS}
        throttles = " ".join(sample.throttles or ())
        return {"time_s": sample.monotonic_s - self._origin, **row, "throttles": throttles}

    def during(self, steps: Sequence[StepSpans]) -> "Readings":
        """The readings from the first of ``steps`` to the last."""
        if not steps:
            return Readings([])
        start, end = steps[0].start_s, steps[-1].end_s
        return Readings([s for s in self._sampled.samples if start <= s.monotonic_s <= end])


class Readings:
    """Some samples, and what a record says of them. ``None`` where none has the figure."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples

    def process_peak_bytes(self) -> int | None:
        """Largest memory of the worker's process."""
        values = [s.memory_process_bytes for s in self.samples]
        return max((v for v in values if v is not None), default=None)

    def device_peak_bytes(self) -> int | None:
        """Largest used memory of the device, whoever holds it."""
        values = [s.memory_used_bytes for s in self.samples]
        return max((v for v in values if v is not None), default=None)

    def others_bytes(self) -> int | None:
        """Median memory of the device that is not the worker's."""
        both = ((s.memory_used_bytes, s.memory_process_bytes) for s in self.samples)
        left = [used - own for used, own in both if used is not None and own is not None]
        return statistics.median_low(left) if left else None

    def clocks_mhz(self) -> dict[str, float]:
        """Median clocks."""
        compute = [s.clock_mhz for s in self.samples if s.clock_mhz is not None]
        memory = [s.memory_clock_mhz for s in self.samples if s.memory_clock_mhz is not None]
        found = {"compute": compute, "memory": memory}
        return {name: statistics.median(values) for name, values in found.items() if values}

    def throttle_reasons(self) -> list[str]:
        """Every reason that was seen."""
        return sorted({word for s in self.samples for word in s.throttles or ()})


def longest_gap_s(samples: Sequence[Sample]) -> float | None:
    """Longest time between two samples, in s; ``None`` below two samples."""
    return max((b.monotonic_s - a.monotonic_s for a, b in pairwise(samples)), default=None)
