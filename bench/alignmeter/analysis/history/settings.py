"""What a run was made with, flat, so that two runs can be laid side by side."""

__all__ = [
    "Clocks",
    "Flat",
    "FlatOnce",
    "clocks_of",
    "differences",
    "flat_of",
    "median_clocks",
    "settings_of",
]

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping

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
_EMPTY = (None, "")
_NONE = "none"
Flat = tuple[tuple[str, str], ...]
"""Fields with their values, in the order in which they are shown."""
Clocks = tuple[tuple[str, float], ...]
"""Clocks in MHz."""


def flat_of(record: Record) -> Flat:
    """What one replicate was made with."""
    said = record.provenance
    found = [(name, str(value)) for name in _FIELDS if (value := getattr(said, name)) not in _EMPTY]
    for table in _TABLES:
        prefix = "" if table == "versions" else f"{table}."
        found += [(prefix + name, str(value)) for name, value in getattr(said, table).items()]
    if said.lora_targets:
        found.append(("lora_targets", " ".join(said.lora_targets)))
    if record.timing.step_s:
        found.append(("timed steps", str(len(record.timing.step_s))))
    return tuple(found)


class FlatOnce:
    """`flat_of` records of one run: what was said with the same tables is not made again."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], tuple[Flat, object]] = {}

    def __call__(self, record: Record) -> Flat:
        """Of one replicate."""
        said = record.provenance
        tables = [getattr(said, table) for table in _TABLES]
        plain = (getattr(said, name) for name in _FIELDS)
        key = *map(id, tables), *plain, *said.lora_targets, len(record.timing.step_s)
        if key not in self._known:
            # With the tables, since nothing else may get their ids.
            self._known[key] = flat_of(record), tables
        return self._known[key][0]


def settings_of(replicates: Iterable[Flat]) -> dict[str, str]:
    """Field -> value over the replicates of one run; several values stand beside each other."""
    seen: dict[str, set[str]] = defaultdict(set)
    for flat in replicates:
        for name, value in flat:
            seen[name].add(value)
    return {name: ", ".join(sorted(values)) for name, values in seen.items()}


def clocks_of(record: Record) -> Clocks:
    """Those of an accelerator; none of a CPU, whose clock follows its load."""
    if record.memory.kind != VRAM:
        return ()
    return tuple(record.provenance.clocks_mhz.items())


def median_clocks(replicates: Iterable[Clocks]) -> dict[str, float]:
    """Over the replicates of one run, in MHz."""
    found: dict[str, list[float]] = defaultdict(list)
    for clocks in replicates:
        for name, mhz in clocks:
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
