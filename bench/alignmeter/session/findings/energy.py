"""From an energy window and the sampler's readings to the record's energy figures."""

__all__ = ["apportioned", "polled_j", "settle", "summed"]

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Literal

from msgspec.structs import replace

from alignmeter.records.record import Energy, Reason
from alignmeter.telemetry.base import Sample
from alignmeter.worker.messages import EnergyWindow, Target


def settle(window: EnergyWindow, target: Target, samples: Sequence[Sample]) -> Energy:
    """Energy per step with its bound, by the counter or else by polling.

    Counter: the difference of both readings, less what the gaps between steps and at the edges took
    by the idle device's power, over the number of steps. Each reading is up to one tick old, so the
    difference is wrong by at most tick x power cap; in a gap power lay between 0 and the cap.
    Polled: the integral of the sensor's readings, less the same; a sensor that looks a part of the
    time proves no more than that power lay between 0 and the cap, and that is its bound. No power
    cap, no bound. Where idle power is unknown, the gaps count with the steps.
    """
    if window.unavailable is not None or window.first is None or window.last is None:
        text = window.unavailable or "the energy window did not end"
        return Energy(source="none", reason=Reason(code="energy_unavailable", text=text))
    start, end = window.first.monotonic_s, window.last.monotonic_s
    inside = [s for s in samples if start <= s.monotonic_s <= end]
    count, steps_s = len(window.steps), sum(step.end_s - step.start_s for step in window.steps)
    gaps = _gaps(window, end - start - steps_s)
    cap_w = None if target.identity is None else target.identity.power_cap_w
    polled = polled_j(inside, start, end)
    polled = None if polled is None else polled - gaps.joules
    energy = Energy(
        source="none",
        reason=_why_rejected(window, inside),
        window_s=end - start,
        steps=count,
        tick_s=window.tick_s,
        gap_s=gaps.seconds,
        power_kind=target.capabilities.power_kind,
        idle_before_w=window.idle_before_w,
        idle_after_w=window.idle_after_w,
        polled_per_step_j=None if polled is None else polled / count,
    )
    if energy.reason is None:
        used = (window.last.energy_j or 0.0) - (window.first.energy_j or 0.0) - gaps.joules
        bound = None if cap_w is None else (window.tick_s or 0.0) * cap_w + gaps.bound_j(cap_w)
        scope, phases = target.capabilities.energy_scope, apportioned(window, inside, used)
        energy = replace(energy, source="counter", scope=scope, phase_j=phases)
    elif polled is not None:
        used, scope = polled, target.capabilities.power_scope
        bound = None if cap_w is None else max(used, cap_w * steps_s - used)
        energy = replace(energy, source="polled", scope=scope)
    else:
        return energy
    return replace(
        energy,
        gaps=gaps.treated,
        per_step_j=used / count,
        mean_w=used / steps_s,
        bound_j=None if bound is None else bound / count,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Gaps:
    """The window's time outside steps, and the power that is taken off for it."""

    seconds: float
    watts: float
    treated: Literal["subtracted", "counted"]

    @property
    def joules(self) -> float:
        return self.seconds * self.watts

    def bound_j(self, cap_w: float) -> float:
        """How far that may be from what they took, if power lay between 0 and the cap."""
        return self.seconds * max(self.watts, cap_w - self.watts)


def _gaps(window: EnergyWindow, seconds: float) -> _Gaps:
    """Device and host may run apart by less than what a negative time would be."""
    idle = [w for w in (window.idle_before_w, window.idle_after_w) if w is not None]
    return _Gaps(
        seconds=max(0.0, seconds),
        watts=fmean(idle) if idle else 0.0,
        treated="subtracted" if idle else "counted",
    )


def _why_rejected(window: EnergyWindow, inside: Sequence[Sample]) -> Reason | None:
    """Why the counter is not believed; ``None`` if it is."""
    first, last = window.first, window.last
    if first is None or last is None or first.energy_j is None or last.energy_j is None:
        missing = {**getattr(last, "missing", {}), **getattr(first, "missing", {})}
        return Reason(
            code="energy_unavailable", text=missing.get("energy_j", "the counter gave no figure")
        )
    readings = [first.energy_j, *(s.energy_j for s in inside if s.energy_j is not None)]
    readings.append(last.energy_j)
    back = max((a - b for a, b in pairwise(readings)), default=0.0)
    if back > 0.0:
        return Reason(code="counter_stepped_back", text=f"by {back:.6g} J within the window")
    if window.frozen or last.energy_j == first.energy_j:
        return Reason(code="counter_frozen", text="it did not move while it was watched")
    return None


def polled_j(samples: Sequence[Sample], start: float, end: float) -> float | None:
    """The integral of the readings of power from ``start`` to ``end``, in J.

    Straight lines between readings; the first and the last hold to the window's edges. ``None``
    with fewer than two readings.
    """
    points = [(s.monotonic_s, s.power_w) for s in samples if s.power_w is not None]
    if len(points) < 2:
        return None
    edges = points[0][1] * (points[0][0] - start) + points[-1][1] * (end - points[-1][0])
    return edges + sum((w0 + w1) / 2 * (t1 - t0) for (t0, w0), (t1, w1) in pairwise(points))


def apportioned(window: EnergyWindow, samples: Sequence[Sample], used_j: float) -> dict[str, float]:
    """Phase -> J per step: the counter's power, spread over the time of the phases.

    Between two refreshes the counter's power is taken as constant, so phases shorter than a tick
    share what the tick holds by their time. Steps' time outside phases keeps its share, gaps
    between steps have none. The parts are scaled to ``used_j``, what the window's steps used.
    """
    pieces = _power(window, samples)
    totals: dict[str, float] = {}
    for step in window.steps:
        for name, start, end in step.phases:
            totals[name] = totals.get(name, 0.0) + _integral(pieces, start, end)
    whole = sum(_integral(pieces, step.start_s, step.end_s) for step in window.steps)
    scale = used_j / whole / len(window.steps) if whole > 0.0 else 0.0
    return {name: joules * scale for name, joules in totals.items()}


def _power(window: EnergyWindow, samples: Sequence[Sample]) -> list[tuple[float, float, float]]:
    """(from s, to s, W) between the refreshes of the counter, over the whole window."""
    edges = [s for s in (window.first, window.last) if s is not None]
    known = [
        (s.monotonic_s, s.energy_j)
        for s in (edges[0], *samples, edges[-1])
        if s.energy_j is not None
    ]
    moved = [known[0]]
    for when, joules in known[1:]:
        if joules > moved[-1][1]:
            moved.append((when, joules))
    pieces = [(t0, t1, (e1 - e0) / (t1 - t0)) for (t0, e0), (t1, e1) in pairwise(moved) if t1 > t0]
    if pieces and pieces[-1][1] < known[-1][0]:
        pieces.append((pieces[-1][1], known[-1][0], pieces[-1][2]))
    return pieces or [(known[0][0], known[-1][0], 0.0)]


def _integral(pieces: Sequence[tuple[float, float, float]], start: float, end: float) -> float:
    return sum(
        watts * (min(end, to) - max(start, since))
        for since, to, watts in pieces
        if to > start and since < end
    )


def summed(devices: Sequence[Energy]) -> Energy:
    """What several devices took together, whose windows hold the same steps: one's own if alone.

    Whether a counter is believed is each device's own; one without a figure leaves the sum without.
    """
    first = devices[0]
    if len(devices) == 1:
        return first
    for energy in devices:
        if energy.per_step_j is None:
            return Energy(source="none", reason=energy.reason)
    return replace(
        first,
        source="counter" if all(one.source == "counter" for one in devices) else "polled",
        reason=next((one.reason for one in devices if one.reason is not None), None),
        per_step_j=sum(one.per_step_j or 0.0 for one in devices),
        bound_j=_sum([one.bound_j for one in devices]),
        mean_w=_sum([one.mean_w for one in devices]),
        idle_before_w=_sum([one.idle_before_w for one in devices]),
        idle_after_w=_sum([one.idle_after_w for one in devices]),
        polled_per_step_j=_sum([one.polled_per_step_j for one in devices]),
        phase_j={
            name: sum(one.phase_j[name] for one in devices)
            for name in first.phase_j
            if all(name in one.phase_j for one in devices)
        },
    )


def _sum(values: Sequence[float | None]) -> float | None:
    """``None`` where one of them is."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
