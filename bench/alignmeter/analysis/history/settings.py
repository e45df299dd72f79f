"""What a run was made with, flat, so that two runs can be laid side by side."""

__all__ = ["clocks_of", "differences", "settings_of"]

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from alignmeter.analysis.history.result import Difference, Point
from alignmeter.records.record import VRAM, Record

_FIELDS = (
    "commit", "driver", "runtime", "device", "device_memory_bytes", "form_factor", "uuid",
    "pci_bus_id", "partition", "power_cap_w", "host", "os", "threads", "tokenizer",
)  # fmt: skip
"""Plain fields of the provenance, in the order in which they are shown."""
_TABLES = ("versions", "environment", "kernel_path", "hyperparameters", "peft", "data")
"""Fields that are tables; a row is shown as ``table.row``, of ``versions`` the row alone."""
_CLOCK_SHARE = 0.03
"""A step that waits for the clock takes as much longer as the clock is lower, and 3 % is the
smallest effect on time that counts.
"""
_NONE = "none"


def settings_of(records: Sequence[Record]) -> dict[str, str]:
    """Field -> value over the replicates of one run; several values stand beside each other."""
    seen: dict[str, dict[str, None]] = defaultdict(dict)
    done: set[tuple[str, int]] = set()
    for record in records:
        for name, value in _flat(record, done):
            seen[name][value] = None
    return {name: ", ".join(sorted(values)) for name, values in seen.items()}


def _flat(record: Record, done: set[tuple[str, int]]) -> Iterable[tuple[str, str]]:
    """Field and value. Tables in ``done``, with their `id`, were told: replicates share theirs."""
    said = record.provenance
    for name in _FIELDS:
        value = getattr(said, name)
        if value not in (None, ""):
            yield name, str(value)
    for table in _TABLES:
        rows, prefix = getattr(said, table), "" if table == "versions" else f"{table}."
        if (table, id(rows)) in done:
            continue
        done.add((table, id(rows)))
        for name, value in rows.items():
            yield prefix + name, str(value)
    if said.lora_targets:
        yield "lora_targets", " ".join(said.lora_targets)
    if record.timing.step_s:
        yield "timed steps", str(len(record.timing.step_s))


def clocks_of(records: Iterable[Record]) -> dict[str, float]:
    """Median clocks over the replicates, in MHz; none of a CPU, whose clock follows its load."""
    found: dict[str, list[float]] = defaultdict(list)
    for record in records:
        if record.memory.kind == VRAM:
            for name, mhz in record.provenance.clocks_mhz.items():
                found[name].append(mhz)
    return {name: statistics.median(values) for name, values in found.items()}


def differences(before: Point, after: Point) -> list[Difference]:
    """The fields in which the provenance of two runs differs; a clock counts from 3 % on."""
    ours, theirs = before.settings, after.settings
    found = [
        Difference(field=name, before=ours.get(name, _NONE), after=theirs.get(name, _NONE))
        for name in dict.fromkeys([*ours, *theirs])
        if ours.get(name) != theirs.get(name)
    ]
    return found + list(_clocks(before.clocks_mhz, after.clocks_mhz))


def _clocks(before: Mapping[str, float], after: Mapping[str, float]) -> Iterable[Difference]:
    for name in sorted(before.keys() & after.keys()):
        if abs(after[name] - before[name]) > _CLOCK_SHARE * before[name]:
            yield Difference(
                field=f"{name} clock",
                before=f"{before[name]:.0f} MHz",
                after=f"{after[name]:.0f} MHz",
            )
