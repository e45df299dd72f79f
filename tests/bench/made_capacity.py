"""Capacity points for tests: a search that found 45 pairs in 256 MiB, with chosen changes."""

from alignmeter.records.capacity import STEPS, CapacityPoint, CapacityTry
from alignmeter.records.record import Provenance
from alignmeter.session.resolve import resolve_cell
from alignmeter.units import MIB

_PLACE = Provenance(device="EPYC", host="h", environment_digest="e", started="2026-01-02")


def make_try(value, status="ok", peak_mib=None, **changes):
    """A try that took two seconds; its peak counts against the limit."""
    peak = None if peak_mib is None else round(peak_mib * MIB)
    row = {"value": value, "status": status, "peak_bytes": peak, "used_bytes": peak, "seconds": 2.0}
    return CapacityTry(**row | changes)


TRIES = (make_try(45, peak_mib=254), make_try(46, "over_limit", peak_mib=259))


def make_point(*, axes=None, tries=TRIES, axis="batch", **changes):
    """The point whose summary follows from ``tries``."""
    ran = {attempt.value: attempt.peak_bytes for attempt in tries if attempt.status == "ok"}
    largest = max(ran, default=None)
    row = {
        "cell": resolve_cell({"accelerator": "cpu", "data": "synthetic", **(axes or {})}).cell,
        "axis": axis, "step": STEPS[axis], "memory_kind": "cpu tensor storage",
        "limit_bytes": 256 * MIB, "limit_given": True, "planned": 45, "largest": largest,
        "peak_bytes": ran.get(largest), "tries": list(tries), "provenance": _PLACE,
        "refused": min((t.value for t in tries if t.status != "ok"), default=None),
    }  # fmt: skip
    return CapacityPoint(**row | changes)
