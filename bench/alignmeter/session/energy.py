"""The energy window: whole steps between two synchronised readings of the device's counter."""

__all__ = ["measure_energy"]

import time
from collections.abc import Callable

from alignmeter.record import Energy, Reason
from alignmeter.telemetry.base import EnergyCounter

_LEAST_S = 5.0
_LEAST_TICKS = 120


def measure_energy(
    counter: EnergyCounter, step: Callable[[], object], *, least_s: float = _LEAST_S
) -> Energy:
    """Run whole steps for at least 5 s and 120 counter ticks; energy per step = difference / N.

    ``step`` returns when the device has finished. The bound is the energy of one tick at the
    window's mean power on either side. Without a counter the result carries the reason.
    """
    reason = counter.missing()
    if reason is not None:
        return Energy(source="none", reason=Reason(code="energy_unavailable", text=reason))
    least_s = max(least_s, _LEAST_TICKS * counter.tick_s)
    steps, start, first_j = 0, time.monotonic(), counter.read_j()
    while time.monotonic() - start < least_s:
        step()
        steps += 1
    used_j, window_s = counter.read_j() - first_j, time.monotonic() - start
    mean_w = used_j / window_s
    return Energy(
        source="counter",
        per_step_j=used_j / steps,
        bound_j=2 * counter.tick_s * mean_w / steps,
        mean_w=mean_w,
        scope=counter.scope,
        window_s=window_s,
    )
