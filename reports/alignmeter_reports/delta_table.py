"""One row per pair of like cells of two methods: the delta's CSV."""

__all__ = ["DELTA_COLUMNS", "delta_csv_text"]

from collections.abc import Sequence

import pandas as pd

from alignmeter.analysis.delta import PARTS, Delta
from alignmeter.registry import METHODS
from alignmeter_reports.table import guarded

_AXES = (
    "architecture", "size", "peft", "kernels", "precision", "checkpointing",
    "deterministic", "seq_len", "batch", "world_size", "parallel",
    *dict.fromkeys(axis for method in METHODS.values() for axis in method.layout),
)  # fmt: skip
_PART_NAMES = {part: part.replace(" ", "_") for part in PARTS}

DELTA_COLUMNS: dict[str, str] = {
    "method": "the method whose peak is taken from the other's",
    "versus": "the method that it is compared with",
    "cell_id": "the cell of `method`",
    "versus_cell_id": "the cell of `versus`, alike in every other axis",
    **{axis: f"axis of the cell of `versus`: {axis.replace('_', ' ')}" for axis in _AXES},
    "device": "name of the device of both, with its setting where the records have several",
    "memory_kind": "vram, or cpu tensor storage, which is not VRAM",
    "replicates": "replicates of the side that has fewer",
    "peak_bytes": "peak of one step of `method`, the largest over replicates",
    "versus_peak_bytes": "that of `versus`",
    "delta_bytes": "the second peak less the first; negative where `method` needs more",
    "saved_percent": "that in per cent of the second peak",
    **{f"{n}_bytes": f"part of the delta: {part}" for part, n in _PART_NAMES.items()},
    **{f"{n}_percent": f"{part}, in per cent of that peak" for part, n in _PART_NAMES.items()},
}
"""Every column, in order, with its meaning. The parts sum to the delta; empty: no ledger."""


def delta_csv_text(deltas: Sequence[Delta]) -> str:
    """The CSV with its header, a row per pair in order of the pairs of methods and their ids."""
    rows = []
    for delta in deltas:
        row: dict[str, object] = {
            "method": delta.cell.method,
            "versus": delta.versus.method,
            "cell_id": delta.cell.id,
            "versus_cell_id": delta.versus.id,
            **{axis: getattr(delta.versus, axis) for axis in _AXES},
            "device": delta.device,
            "memory_kind": delta.kind,
            "replicates": delta.replicates,
            "peak_bytes": delta.peak_bytes,
            "versus_peak_bytes": delta.versus_peak_bytes,
            "delta_bytes": delta.bytes,
            "saved_percent": delta.percent,
        }
        for part, count in delta.parts.items():
            row[f"{_PART_NAMES[part]}_bytes"] = count
            row[f"{_PART_NAMES[part]}_percent"] = delta.share(count)
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(DELTA_COLUMNS), dtype=object)
    return table.map(guarded).to_csv(index=False, lineterminator="\n")
