"""From an energy window and the sampler's readings to the record's energy figures."""

__all__ = ["apportioned", "polled_j", "settle"]

from collections.abc import Sequence
from itertools import pairwise

from msgspec.structs import replace

from alignmeter.records.record import Energy, Reason
from alignmeter.telemetry.base import Sample
from alignmeter.worker.messages import EnergyWindow, Target


def settle(window: EnergyWindow, target: Target, samples: Sequence[Sample]) -> Energy:
    """Energy per step with its bound, by the counter or else by polling.

    Counter: the difference of both readings over the number of steps. Each reading is up to one
    tick old, so the difference is wrong by at most tick x power cap. Polled: the integral of the
    sensor's readings; a sensor that looks a part of the time proves no more than that power lay
    between 0 and the cap, and that is its bound. No power cap, no bound.
    """
    if window.unavailable is not None or window.first is None or window.last is None:
        text = window.unavailable or "the energy window did not end"
        return Energy(source="none", reason=Reason(code="energy_unavailable", text=text))
    start, end = window.first.monotonic_s, window.last.monotonic_s
    inside = [s for s in samples if start <= s.monotonic_s <= end]
    cap_w = None if target.identity is None else target.identity.power_cap_w
    polled = polled_j(inside, start, end)
    rejected = _why_rejected(window, inside)
    count, length = len(window.steps), end - start
    common = Energy(
        source="none",
        reason=rejected,
        window_s=length,
        steps=count,
        tick_s=window.tick_s,
        power_kind=target.capabilities.power_kind,
        idle_before_w=window.idle_before_w,
        idle_after_w=window.idle_after_w,
        polled_per_step_j=None if polled is None else polled / count,
    )
    if rejected is None:
        used = (window.last.energy_j or 0.0) - (window.first.energy_j or 0.0)
        return replace(
            common,
            source="counter",
            scope=target.capabilities.energy_scope,
            per_step_j=used / count,
            mean_w=used / length,
            bound_j=None if cap_w is None else (window.tick_s or 0.0) * cap_w / count,
            phase_j=apportioned(window, inside, used),
        )
    if polled is None:
        return common
    return replace(
        common,
        source="polled",
        scope=target.capabilities.power_scope,
        per_step_j=polled / count,
        mean_w=polled / length,
        bound_j=None if cap_w is None else max(polled, cap_w * length - polled) / count,
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
    share what the tick holds by their time. Steps' time outside phases keeps its share. The
    parts are scaled to ``used_j``, what the window used.
    """
    pieces = _power(window, samples)
    totals: dict[str, float] = {}
    for step in window.steps:
        for name, start, end in step.phases:
            totals[name] = totals.get(name, 0.0) + _integral(pieces, start, end)
    whole = _integral(pieces, pieces[0][0], pieces[-1][1])
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
