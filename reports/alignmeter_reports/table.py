"""One row per record: the CSV, and the rows that it is made of."""

__all__ = ["COLUMNS", "csv_bytes", "guarded", "in_order", "kind_of", "row_of", "rows"]

import csv
import io
from collections.abc import Iterator, Sequence
from functools import lru_cache
from operator import itemgetter

from alignmeter.analysis.cost import money_of
from alignmeter.analysis.footprint import FOOTPRINT, footprint, prediction_error_percent
from alignmeter.analysis.prices import Prices
from alignmeter.analysis.ranks import spread_of
from alignmeter.cells.axes import AXES
from alignmeter.records.record import OWNERS, Record

_METRICS = ("time", "memory", "energy", "numerics")

_PROVENANCE = (
    "device", "form_factor", "power_cap_w", "driver", "host", "commit", "environment_digest",
    "started",
)  # fmt: skip

_ROLLOUT = {
    "cache_reserved_bytes": "the rollout's cache at its largest moment",
    "cache_used_bytes": "what of it held keys, values or states",
    "step_share": "the rollout's part of a step's time, 0 to 1",
    "compile_s": "what its engine compiled before the first step, in s",
    "engine_bytes": "of a served engine: the device's memory in use less what torch reserved",
    "logprob_gap": "mean distance of a served engine's log-probs from the policy's, in nats",
}
"""Field of a record's ``rollout`` -> its meaning."""

_RANKS = {
    "largest_rank": "of several devices the rank with the largest peak",
    "rank_peak_imbalance_percent": "how far that peak is above the ranks' mean, in per cent",
    "slowest_rank": "the rank with the slowest median step",
    "rank_step_imbalance_percent": "how far that is above the ranks' mean, in per cent",
    "communication_bytes": "of the whole tensors that a step's collectives gather or reduce",
    "communication_exposed_s": "time of them in which a rank computed nothing, in s",
    "failed_rank": "the rank whose failure ended the replicate",
}
"""Of steps of several devices -> its meaning."""

COLUMNS: dict[str, str] = {
    "cell_id": "the cell's id",
    "replicate": "number of the replicate",
    "seed": "seed of data, weights and sampling",
    "status": "ok, oom, unsupported, timeout, crashed or predicted_oom",
    "reason_code": "why the status is not ok",
    "reason_text": "the same as a sentence",
    **{name: f"axis: {axis.help}" for name, axis in AXES.items()},
    "step_median_s": "median wall time of a step, in s",
    "steps": "timed steps",
    "memory_kind": "vram, or cpu tensor storage, which is not VRAM",
    "allocated_peak_bytes": "the allocator's peak over one step",
    "reserved_peak_bytes": "most that the caching allocator held",
    "process_peak_bytes": "largest sample of the process's memory on the device",
    "device_peak_bytes": "largest sample of the device's memory in use",
    **{f"{name}_bytes": meaning for name, meaning in FOOTPRINT.items()},
    "predicted_peak_bytes": "the plan's figure for the allocator's peak",
    "prediction_error_percent": "how far it is above the measured peak, in per cent of that",
    "rss_peak_bytes": "resident set of the process",
    "peak_phase": "phase of the step in which the peak was reached",
    **{f"ledger_{owner}_bytes": f"{owner.replace('_', ' ')} at the peak" for owner in OWNERS},
    "energy_source": "counter, polled or none",
    "energy_per_step_j": "energy per step, in J",
    "energy_bound_j": "its error bound, in J",
    "energy_scope": "what its counter counts: gpu, module or socket",
    "energy_gaps": "idle power between steps: subtracted, or counted, as where it is empty",
    "energy_polled_per_step_j": "the power sensor's integral per step, in J",
    "idle_before_w": "power without work before the energy window, in W",
    "trained_tokens_per_s": "real tokens through the loss's forward and backward, per s",
    "generated_tokens_per_s": "tokens that the policy sampled, per s of whole steps",
    "padded_tokens_per_s": "padding beside the trained tokens, per s",
    **{f"rollout_{name}": meaning for name, meaning in _ROLLOUT.items()},
    **_RANKS,
    "model_flops": "FLOPs of one step, recomputation apart",
    "masked_flops": "those of them that attention's causal mask throws away",
    "recomputed_flops": "FLOPs of checkpointing's second forward pass",
    "mfu": "model FLOPs utilisation of the chip's dense bf16 peak, 0 to 1",
    "bound_s": "what a step takes at least on this device, in s",
    "bound_share": "that over the measured step time, 0 to 1",
    "currency": "of the costs, as `--prices` gives it",
    "cost_per_1000_steps": "price of its devices' hours and of electricity for 1000 steps",
    "cost_per_million_tokens": "the same for a million trained tokens",
    "notes": "codes of what is noted of the cell though its figures stand",
    **{f"{metric}_invalid": f"reason codes, where {metric} is invalid" for metric in _METRICS},
    "device": "name of the device",
    "form_factor": "SXM, PCIe, OAM and so on",
    "power_cap_w": "enforced power limit, in W",
    "driver": "version of the driver",
    "host": "name of the host",
    "commit": "commit of alignmeter",
    "environment_digest": "versions, device, threads and environment variables, digested",
    "started": "when the replicate began, UTC",
}
"""Every column of the CSV, in order, with its meaning. Empty: not measured."""


_WHOLE = ("replicate", "seed", "steps", "masked_flops", "recomputed_flops", "model_flops",
          "largest_rank", "slowest_rank", "failed_rank")  # fmt: skip
_NUMBERS = ("_s", "_j", "_w", "_percent", "_steps", "_tokens", "_share", "_gap", "mfu")
_TEXT = ("cell_id", "status", "reason_code", "reason_text", "memory_kind", "peak_phase",
         "energy_source", "energy_scope", "energy_gaps")  # fmt: skip


def kind_of(column: str) -> str:
    """``text``, ``whole number`` or ``number``: what a column holds where it is not empty."""
    if column in AXES:
        return "whole number" if AXES[column].integer else "text"
    if column in _WHOLE or column.endswith("_bytes"):
        return "whole number"
    named = column in _TEXT or column.endswith("_invalid")
    if not named and column.endswith(_NUMBERS):
        return "number"
    return "text"


def row_of(record: Record, prices: Prices | None = None) -> dict[str, object]:
    """Column -> figure, ``None`` where there is none; in no particular order."""
    reason, money = record.reason, money_of(record, prices)
    row: dict[str, object] = {
        "cell_id": record.cell.id,
        "replicate": record.replicate,
        "seed": record.seed,
        "status": record.status,
        "reason_code": reason.code if reason else None,
        "reason_text": reason.text if reason else None,
        "notes": " ".join(note.code for note in record.notes) or None,
        **record.cell.axes(),
        "step_median_s": record.timing.median_s,
        "steps": len(record.timing.step_s),
        "memory_kind": record.memory.kind,
        "allocated_peak_bytes": record.memory.allocated_peak_bytes,
        "reserved_peak_bytes": record.memory.reserved_peak_bytes,
        "process_peak_bytes": record.memory.process_peak_bytes,
        "device_peak_bytes": record.memory.device_peak_bytes,
        "predicted_peak_bytes": record.memory.predicted_peak_bytes,
        "prediction_error_percent": prediction_error_percent(record.memory),
        "rss_peak_bytes": record.memory.rss_peak_bytes,
        "peak_phase": record.memory.peak_phase,
        "energy_source": record.energy.source,
        "energy_per_step_j": record.energy.per_step_j,
        "energy_bound_j": record.energy.bound_j,
        "energy_scope": record.energy.scope,
        "energy_gaps": record.energy.gaps,
        "energy_polled_per_step_j": record.energy.polled_per_step_j,
        "idle_before_w": record.energy.idle_before_w,
        "trained_tokens_per_s": record.throughput.trained_tokens_per_s,
        "generated_tokens_per_s": record.throughput.generated_tokens_per_s,
        "padded_tokens_per_s": record.throughput.padded_tokens_per_s,
        "model_flops": sum(record.throughput.flops.values()) or None,
        "masked_flops": record.throughput.masked_flops,
        "recomputed_flops": record.throughput.recomputed_flops,
        "mfu": record.throughput.mfu,
        "bound_s": record.throughput.bound_s,
        "bound_share": record.throughput.bound_share,
        "currency": None if money.per_steps is None or prices is None else prices.currency,
        "cost_per_1000_steps": money.per_steps,
        "cost_per_million_tokens": money.per_million,
    }
    return row | _of_ranks(record) | _parts(record)


def _of_ranks(record: Record) -> dict[str, object]:
    peak = spread_of(record, lambda rank: rank.peak_bytes)
    time = spread_of(record, lambda rank: rank.median_s)
    sent = record.communication
    return {
        "largest_rank": None if peak is None else peak.rank,
        "rank_peak_imbalance_percent": None if peak is None else peak.percent,
        "slowest_rank": None if time is None else time.rank,
        "rank_step_imbalance_percent": None if time is None else time.percent,
        "communication_bytes": None if sent is None else sent.bytes,
        "communication_exposed_s": None if sent is None else sent.exposed_s,
        "failed_rank": record.failed_rank,
    }


def _parts(record: Record) -> dict[str, object]:
    """The columns that come in rows of one kind."""
    row: dict[str, object] = {
        f"rollout_{name}": getattr(record.rollout, name, None) for name in _ROLLOUT
    }
    row |= {f"{part.name}_bytes": part.bytes for part in footprint(record)}
    for owner in OWNERS:
        row[f"ledger_{owner}_bytes"] = record.ledger.get(f"{owner}_bytes")
    for metric in _METRICS:
        verdict = record.validity.get(metric)
        codes = [r.code for r in verdict.reasons] if verdict else []
        row[f"{metric}_invalid"] = " ".join(codes) or None
    for name in _PROVENANCE:
        row[name] = getattr(record.provenance, name)
    return row


def rows(records: Sequence[Record], prices: Prices | None = None) -> Iterator[dict[str, object]]:
    """A row per record in order of cell and replicate, with `COLUMNS` as keys; ``None``: no figure.

    Without ``prices`` the columns of costs are empty. One after the other: 100 000 rows of so many
    columns at once would fill half a gigabyte.
    """
    for record in in_order(records):
        yield dict(zip(COLUMNS, _in_columns(row_of(record, prices)), strict=True))


_in_columns = itemgetter(*COLUMNS)
"""Of what `row_of` gives, in their order."""


def in_order(records: Sequence[Record]) -> list[Record]:
    """As the files have them: by cell id and replicate."""
    return sorted(records, key=lambda record: (record.cell.id, record.replicate))


_LONGEST = 32_000
"""Characters of a text cell: spreadsheets take 32767 and refuse or cut what is longer."""


def guarded(value: object) -> object:
    """Text that a spreadsheet would run as a formula gets an apostrophe in front.

    A carriage return would end the row in some readers: it becomes a newline, which is quoted.
    """
    return _guarded(value) if isinstance(value, str) else value


@lru_cache(2**12)  # most of a table's texts stand in it thousands of times
def _guarded(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    formula = text.startswith(("=", "+", "-", "@", "\t", "\n"))
    return ("'" if formula else "") + text[:_LONGEST]


def csv_bytes(records: Sequence[Record], prices: Prices | None = None) -> bytes:
    """The CSV of `rows`, with its header, in UTF-8; numbers as they are, text guarded."""
    texts = [number for number, name in enumerate(COLUMNS) if kind_of(name) == "text"]
    file = io.BytesIO()
    # The name of a device may hold bytes that are not UTF-8, as surrogates: show them.
    with io.TextIOWrapper(file, "utf-8", "backslashreplace", newline="") as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for record in in_order(records):
            row = list(_in_columns(row_of(record, prices)))
            for number in texts:
                row[number] = guarded(row[number])
            writer.writerow(row)
        text.flush()
        return file.getvalue()
