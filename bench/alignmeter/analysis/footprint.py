"""From the allocator's peak to the device's: what is in use beside the tensors of the ledger.

    allocated + fragmentation = reserved
    reserved + context = process
    process + other processes = device

Allocated is the peak of the memory step, reserved that of the timed steps, and process and device
are samples, so a difference below zero can come out. It is kept, with a note.
"""

__all__ = ["FOOTPRINT", "FootprintRow", "footprint", "prediction_error_percent"]

from dataclasses import dataclass

from alignmeter.records.record import VRAM, Memory, Record

FOOTPRINT: dict[str, str] = {
    "fragmentation": "reserved less allocated peak: what the caching allocator held unused",
    "context": "process less reserved peak: the device's context, libraries and kernels",
    "other_processes": "device less process peak: other processes and the driver",
}
"""Name of a row -> what it is."""

_CPU = "tensor storage on the CPU: no caching allocator, context or driver takes part"
_NOT_SAMPLED = "below zero: samples can miss a short peak"
_OTHER_STEP = "below zero: the two peaks are not of the same step"
_PEAKS = {
    "fragmentation": ("allocated", "reserved", _OTHER_STEP),
    "context": ("reserved", "process", _NOT_SAMPLED),
    "other_processes": ("process", "device", _NOT_SAMPLED),
}
_SAMPLED = {"process": "memory_process_bytes", "device": "memory_used_bytes"}
"""A peak that telemetry gives -> its name there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FootprintRow:
    """One row of `FOOTPRINT`. ``reason``: why there is no figure, or why it is below zero."""

    name: str
    bytes: int | None
    reason: str | None = None


def footprint(record: Record) -> list[FootprintRow]:
    """The rows of `FOOTPRINT` in order; with the record's four peaks they sum exactly."""
    if record.memory.kind != VRAM:
        return [FootprintRow(name=name, bytes=None, reason=_CPU) for name in FOOTPRINT]
    return [_row(record, name) for name in FOOTPRINT]


def _row(record: Record, name: str) -> FootprintRow:
    inner, outer, note = _PEAKS[name]
    less, more = (_peak(record.memory, peak) for peak in (inner, outer))
    if less is None or more is None:
        missing = inner if less is None else outer
        reason = f"no {missing} peak: {_why(record, missing)}"
        return FootprintRow(name=name, bytes=None, reason=reason)
    return FootprintRow(name=name, bytes=more - less, reason=note if more < less else None)


def _peak(memory: Memory, name: str) -> int | None:
    return {
        "allocated": memory.allocated_peak_bytes,
        "reserved": memory.reserved_peak_bytes,
        "process": memory.process_peak_bytes,
        "device": memory.device_peak_bytes,
    }[name]


def _why(record: Record, peak: str) -> str:
    missing = record.telemetry.missing.get(_SAMPLED.get(peak, ""))
    if missing is not None:
        return missing
    reasons = record.memory.reason, record.telemetry.reason if peak in _SAMPLED else None
    found = next((reason for reason in (*reasons, record.reason) if reason is not None), None)
    return "the record does not say why" if found is None else found.text


def prediction_error_percent(memory: Memory) -> float | None:
    """How far the plan's peak is above the measured one, in per cent of the measured.

    ``None`` without one of the two, or where one is not above zero.
    """
    predicted, measured = memory.predicted_peak_bytes, memory.allocated_peak_bytes
    if predicted is None or measured is None or predicted <= 0 or measured <= 0:
        return None
    return 100 * (predicted - measured) / measured
