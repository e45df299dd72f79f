"""One row per record: the CSV, and the frame that it is made of."""

__all__ = ["COLUMNS", "csv_text", "frame"]

from collections.abc import Sequence

import pandas as pd

from alignmeter.axes import AXES
from alignmeter.record import OWNERS, Record

_METRICS = ("time", "memory", "energy", "numerics")

COLUMNS: dict[str, str] = {
    "cell_id": "the cell's id",
    "replicate": "number of the replicate",
    "seed": "seed of data, weights and sampling",
    "status": "ok, oom, unsupported, timeout, crashed or predicted_oom",
    "reason_code": "why the status is not ok",
    "reason_text": "the same in words",
    **{name: f"axis: {axis.help}" for name, axis in AXES.items()},
    "step_median_s": "median wall time of a step, in s",
    "steps": "timed steps",
    "memory_kind": "vram, or cpu tensor storage, which is not VRAM",
    "allocated_peak_bytes": "the allocator's peak over one step",
    "reserved_peak_bytes": "most that the caching allocator held",
    "rss_peak_bytes": "resident set of the process",
    "peak_phase": "phase of the step in which the peak was reached",
    **{f"ledger_{owner}_bytes": f"{owner.replace('_', ' ')} at the peak" for owner in OWNERS},
    "energy_source": "counter, polled or none",
    "energy_per_step_j": "energy per step, in J",
    "energy_bound_j": "its error bound, in J",
    "trained_tokens_per_s": "real tokens through the loss's forward and backward, per s",
    "generated_tokens_per_s": "PPO's sampled tokens, per s",
    "padded_tokens_per_s": "padding beside the trained tokens, per s",
    **{f"{metric}_invalid": f"reason codes that spoil {metric}" for metric in _METRICS},
    "device": "name of the device",
    "host": "name of the host",
    "commit": "commit of alignmeter",
    "environment_digest": "versions, device, threads and environment variables, digested",
    "started": "when the replicate began, UTC",
}
"""Every column of the CSV, in order, with its meaning. Empty: not measured."""


def _row(record: Record) -> dict[str, object]:
    reason = record.reason
    row: dict[str, object] = {
        "cell_id": record.cell.id,
        "replicate": record.replicate,
        "seed": record.seed,
        "status": record.status,
        "reason_code": reason.code if reason else None,
        "reason_text": reason.text if reason else None,
        **record.cell.axes(),
        "step_median_s": record.timing.median_s,
        "steps": len(record.timing.step_s),
        "memory_kind": record.memory.kind,
        "allocated_peak_bytes": record.memory.allocated_peak_bytes,
        "reserved_peak_bytes": record.memory.reserved_peak_bytes,
        "rss_peak_bytes": record.memory.rss_peak_bytes,
        "peak_phase": record.memory.peak_phase,
        "energy_source": record.energy.source,
        "energy_per_step_j": record.energy.per_step_j,
        "energy_bound_j": record.energy.bound_j,
        "trained_tokens_per_s": record.throughput.trained_tokens_per_s,
        "generated_tokens_per_s": record.throughput.generated_tokens_per_s,
        "padded_tokens_per_s": record.throughput.padded_tokens_per_s,
    }
    for owner in OWNERS:
        row[f"ledger_{owner}_bytes"] = record.ledger.get(f"{owner}_bytes")
    for metric in _METRICS:
        verdict = record.validity.get(metric)
        codes = [r.code for r in verdict.reasons] if verdict else []
        row[f"{metric}_invalid"] = " ".join(codes) or None
    for name in ("device", "host", "commit", "environment_digest", "started"):
        row[name] = getattr(record.provenance, name)
    return row


def frame(records: Sequence[Record]) -> pd.DataFrame:
    """One row per record, columns as in `COLUMNS`; whole numbers stay whole beside gaps."""
    table = pd.DataFrame([_row(record) for record in records], columns=list(COLUMNS), dtype=object)
    return table.sort_values(["cell_id", "replicate"], kind="stable")


_LONGEST = 32_000
"""Characters of a text cell: spreadsheets take 32767 and refuse or cut what is longer."""


def _guarded(value: object) -> object:
    """Text that a spreadsheet would run as a formula gets an apostrophe in front.

    A carriage return would end the row in some readers: it becomes a newline, which is quoted.
    """
    if not isinstance(value, str):
        return value
    value = value.replace("\r\n", "\n").replace("\r", "\n")
    formula = value.startswith(("=", "+", "-", "@", "\t", "\n"))
    return ("'" if formula else "") + value[:_LONGEST]


def csv_text(records: Sequence[Record]) -> str:
    """The CSV with its header; numbers as they are, text guarded."""
    return frame(records).map(_guarded).to_csv(index=False, lineterminator="\n")
