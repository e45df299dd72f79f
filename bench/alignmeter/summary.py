"""The answer in the terminal: the DPO-vs-PPO delta as plain lines of at most 80 columns."""

__all__ = ["summary_lines"]

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence

from alignmeter.delta import Delta, deltas
from alignmeter.record import Record
from alignmeter.units import bytes_text, seconds_text

_FORMAT = "{:<12} {:<6} {:<20} {:>9} {:>9} {:>9} {:>6}"


def summary_lines(records: Sequence[Record]) -> list[str]:
    """A table of every pair, what was not measured, and what kind of memory it is."""
    counts = Counter(record.status for record in records)
    lines = ["  ".join(f"{status} {count}" for status, count in sorted(counts.items()))]
    rows = deltas(records)
    for kind in sorted({row.kind for row in rows}):
        lines += ["", *_table([row for row in rows if row.kind == kind], kind)]
    lines += ["", *_isolation(records), *_repeatability(records)]
    if not rows:
        lines.append("no DPO-vs-PPO delta: it needs a dpo and a ppo cell alike in all else")
    return lines


def _isolation(records: Sequence[Record]) -> list[str]:
    """What a process per replicate costs: the first worker of a round waits for the imports."""
    starts = sorted(r.timing.worker_start_s for r in records if r.timing.worker_start_s is not None)
    if len(starts) < 2:
        return []
    median = statistics.median(starts)
    return [
        f"isolation: a fresh process per replicate took {seconds_text(median)} to start",
        f"(median of {len(starts)}; the slowest {seconds_text(starts[-1])}, with its imports)",
    ]


def _repeatability(records: Sequence[Record]) -> list[str]:
    """In how many cells all replicates gave the same losses and the same peak bytes."""
    seen: dict[tuple[str, int, str], list[tuple[object, ...]]] = defaultdict(list)
    for r in records:
        if r.status == "ok":
            key = r.cell.id, r.seed, r.provenance.environment_digest
            seen[key].append((*r.numerics.losses, r.memory.allocated_peak_bytes))
    repeated = [results for results in seen.values() if len(results) > 1]
    if not repeated:
        return []
    same = sum(len(set(results)) == 1 for results in repeated)
    return [f"repeatability: same losses and same bytes in {same} of {len(repeated)} cells"]


def _table(rows: Sequence[Delta], kind: str) -> list[str]:
    lines = [
        f"DPO vs PPO: peak memory of one step ({kind})",
        _FORMAT.format("architecture", "peft", "PPO layout", "DPO", "PPO", "delta", "saved"),
    ]
    for row in rows:
        layout = f"{row.ppo.ppo_topology}, {row.ppo.ppo_backward}"
        lines.append(
            _FORMAT.format(
                row.ppo.architecture,
                row.ppo.peft,
                layout,
                bytes_text(row.dpo_peak_bytes),
                bytes_text(row.ppo_peak_bytes),
                bytes_text(row.bytes),
                f"{row.percent:.1f} %",
            )
        )
    lines.append("saved: what DPO saves of PPO's peak; negative where DPO needs more.")
    if kind != "vram":
        lines.append("CPU figures are bytes of tensors. They say nothing about VRAM.")
    return lines
