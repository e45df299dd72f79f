"""One row per DPO-vs-PPO pair: the delta's CSV."""

__all__ = ["DELTA_COLUMNS", "delta_csv_text"]

from collections.abc import Sequence

import pandas as pd

from alignmeter.analysis.delta import PARTS, Delta
from alignmeter_reports.table import guarded

_AXES = (
    "architecture", "size", "peft", "kernels", "precision", "checkpointing",
    "deterministic", "seq_len", "batch", "ppo_topology", "ppo_backward",
)  # fmt: skip
_PART_NAMES = {part: part.replace(" ", "_") for part in PARTS}

DELTA_COLUMNS: dict[str, str] = {
    "dpo_cell_id": "the DPO cell",
    "ppo_cell_id": "the PPO cell, alike in every other axis",
    **{axis: f"axis of the PPO cell: {axis.replace('_', ' ')}" for axis in _AXES},
    "device": "name of the device of both",
    "memory_kind": "vram, or cpu tensor storage, which is not VRAM",
    "replicates": "replicates of the side that has fewer",
    "dpo_peak_bytes": "DPO's peak of one step, the largest over replicates",
    "ppo_peak_bytes": "PPO's",
    "delta_bytes": "PPO's peak less DPO's; negative where DPO needs more",
    "saved_percent": "that in per cent of PPO's peak",
    **{f"{n}_bytes": f"part of the delta: {part}" for part, n in _PART_NAMES.items()},
    **{f"{n}_percent": f"{part}, in per cent of PPO's peak" for part, n in _PART_NAMES.items()},
}
"""Every column, in order, with its meaning. The parts sum to the delta; empty: no ledger."""


def delta_csv_text(deltas: Sequence[Delta]) -> str:
    """The CSV with its header, a row per pair in order of the PPO cell's id."""
    rows = []
    for delta in deltas:
        row: dict[str, object] = {
            "dpo_cell_id": delta.cell.id,
            "ppo_cell_id": delta.versus.id,
            **{axis: getattr(delta.versus, axis) for axis in _AXES},
            "device": delta.device,
            "memory_kind": delta.kind,
            "replicates": delta.replicates,
            "dpo_peak_bytes": delta.peak_bytes,
            "ppo_peak_bytes": delta.versus_peak_bytes,
            "delta_bytes": delta.bytes,
            "saved_percent": delta.percent,
        }
        for part, count in delta.parts.items():
            row[f"{_PART_NAMES[part]}_bytes"] = count
            row[f"{_PART_NAMES[part]}_percent"] = delta.share(count)
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(DELTA_COLUMNS), dtype=object)
    return table.map(guarded).to_csv(index=False, lineterminator="\n")
