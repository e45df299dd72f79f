"""The bars of the page: bytes at the peak by owner, and the time of a step by phase."""

__all__ = ["ledger_chart", "phase_chart"]

from collections.abc import Sequence

from markupsafe import Markup

from alignmeter.analysis.delta import Delta
from alignmeter.cells.cell import Cell
from alignmeter.records.record import OWNERS, Record
from alignmeter.units import MIB
from alignmeter_reports.drawing.charts import Bar, stacked_bars
from alignmeter_reports.sections.cells import CellRow, layout

_PHASES = (
    "ref_precompute", "rollout", "scoring", "ref_forward", "forward", "backward", "optimizer",
)  # fmt: skip
"""The order of a step; a phase of another name comes after them."""
_NAMED = {"size": "", "seq_len": "T=", "batch": "B=", "precision": "", "kernels": ""}
"""Axis -> what stands before its value in a label, where bars differ in it."""
_MOST_BARS = 60
"""More are not read as a picture; a table beside each chart has all."""
_SMALL = ("quantisation_state", "rollout_cache", "workspace", "batch", "unattributed")


def ledger_chart(records: Sequence[Record], found: Sequence[Delta]) -> Markup:
    """The ledgers behind each delta, DPO beside PPO, of the replicate whose peak it has."""
    ledgers = {
        (r.cell, r.provenance.device, r.memory.allocated_peak_bytes): r.ledger
        for r in records
        if r.ledger
    }
    bars, seen = [], set()
    varied = _varied([delta.versus for delta in found])
    devices = len({delta.device for delta in found}) > 1
    for delta in found:
        sides = (delta.cell, delta.peak_bytes), (delta.versus, delta.versus_peak_bytes)
        for cell, peak in sides:
            key = cell, delta.device, peak
            if key not in seen and key in ledgers:
                seen.add(key)
                label = _bar_label(cell, varied)
                label += f" on {delta.device}" if devices else ""
                bars.append(Bar(label=label, parts=_ledger_parts(ledgers[key])))
    title = "Bytes at the peak of one step by owner, DPO beside PPO"
    return _drawn(bars, title=title, unit="MiB at the peak of one step")


def _varied(cells: Sequence[Cell]) -> list[str]:
    """Axes that a label must name here, for the bars differ in them."""
    return [name for name in _NAMED if len({getattr(cell, name) for cell in cells}) > 1]


def _bar_label(cell: Cell, varied: Sequence[str]) -> str:
    named = "".join(f" {_NAMED[name]}{getattr(cell, name)}" for name in varied)
    tail = f" ({layout(cell)})" if cell.method == "ppo" else ""
    return f"{cell.architecture} {cell.peft} {cell.method.upper()}{named}{tail}"


def _ledger_parts(ledger: dict[str, int]) -> dict[str, float]:
    """MiB by owner, the small ones together as ``other``."""
    parts = {
        owner.replace("_", " "): ledger.get(f"{owner}_bytes", 0) / MIB
        for owner in OWNERS
        if owner not in _SMALL
    }
    parts["other"] = sum(ledger.get(f"{owner}_bytes", 0) for owner in _SMALL) / MIB
    return parts


def phase_chart(rows: Sequence[CellRow]) -> Markup:
    """One bar per row that has phases, in ms per step."""
    found = dict.fromkeys(name for row in rows for name in row.phases_s)
    order = [*(name for name in _PHASES if name in found), *(n for n in found if n not in _PHASES)]
    varied = _varied([row.cell for row in rows])
    bars = [
        Bar(
            label=_bar_label(r.cell, varied),
            parts={_named(name): 1e3 * r.phases_s.get(name, 0.0) for name in order},
        )
        for r in rows
        if r.phases_s
    ]
    return _drawn(bars, title="Time of each phase of a step", unit="ms per step")


def _named(phase: str) -> str:
    """matplotlib leaves out a label that is empty or begins with an underscore."""
    return f"phase {phase}" if not phase or phase.startswith("_") else phase


def _drawn(bars: Sequence[Bar], *, title: str, unit: str) -> Markup:
    if len(bars) > _MOST_BARS:
        unit += f" (the first {_MOST_BARS} of {len(bars)} bars; the table has all)"
    svg = stacked_bars(bars[:_MOST_BARS], title=title, unit=unit)
    # matplotlib writes the SVG and escapes the labels; nothing of a record gets here unescaped.
    return Markup(svg)  # noqa: S704
