"""What the explorer in the page works on: axes and figures of every cell, and all beneath them.

Embedded as JSON that no browser runs. Times of steps and phases are rounded to four significant
digits; a figure is whole, since one that was rounded twice would differ from the tables'.
"""

__all__ = ["ExploreView", "explore_view"]

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from alignmeter.analysis.intervals import Estimate
from alignmeter.analysis.likeness import Group
from alignmeter.cells.axes import AXES
from alignmeter.cells.labels import axis_text, follows, spelled
from alignmeter.errors import InputError
from alignmeter.records.folder import timeline_path
from alignmeter.records.record import VRAM, Provenance, Record
from alignmeter.records.timeline import Timeline, decode_timeline
from alignmeter.text import shortened
from alignmeter_reports.cells import CellRow, Why
from alignmeter_reports.sections.cost import CostView

_ALWAYS = ("method", "architecture", "peft", "seq_len", "batch", "device")
_LABELS = {"peft": "PEFT", "seq_len": "T", "batch": "B"}
_LEFT_OUT = ("accelerator", "data", "columns")
"""The device says the first; paths are no axis that a reader picks."""
_LONGEST = 120
"""Characters of a text in the explorer; records may hold anything."""
_MOST_STEPS = 200
_MOST_POINTS = 40
"""Of a timeline: the rise and the level are seen, and 400 of them stay within half a megabyte."""
_LARGEST_TIMELINE = 8 << 20
_DIGITS = 4
_DRAWN_DIGITS = 3
"""A pixel of a small plot is a hundredth of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExploreView:
    """``data``: JSON without any ``<``. ``cells``: how many are in it."""

    data: Markup
    cells: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Value:
    """A figure that can be looked at; ``metric``: the key of a record's validity behind it."""

    name: str
    label: str
    unit: str
    metric: str
    pick: Callable[[CellRow], float | Estimate | None]


_VALUES = (
    _Value(name="time", label="step time", unit="s", metric="time", pick=lambda row: row.time_s),
    _Value(name="tokens", label="trained tokens/s", unit="", metric="time",
           pick=lambda row: row.trained_per_s),
    _Value(name="peak", label="peak memory", unit="bytes", metric="memory",
           pick=lambda row: row.peak_bytes),
    _Value(name="energy", label="energy per step", unit="J", metric="energy",
           pick=lambda row: row.energy_j),
)  # fmt: skip


def explore_view(
    rows: Sequence[CellRow],
    groups: Mapping[str, Group],
    paths: Mapping[int, Path],
    cost: CostView,
    history: Mapping[str, str] | None = None,
) -> ExploreView | None:
    """``None`` without rows. ``groups``: a row's anchor -> its replicates; ``paths``: ``id`` of a
    record -> its file; ``history``: anchor -> page with the cell's nights, where there is one.
    """
    if not rows:
        return None
    axes = _axes(rows)
    values = [*_VALUES, *_cost_value(cost)]
    places: dict[tuple[tuple[str, str], ...], int] = {}
    reasons: dict[tuple[str, str], int] = {}
    figured = {value.name for value in values for row in rows if value.pick(row) is not None}
    listed = [
        {
            **_row(row, values, reasons),
            "at": [axis.at(row) for axis in axes],
            "place": places.setdefault(tuple(_place(row.place).items()), len(places)),
            "steps": _steps(groups[row.anchor].records),
            "timeline": _timeline(groups[row.anchor].records, paths),
            "history": (history or {}).get(row.anchor),
        }
        for row in rows
    ]
    shown = [value for value in values if value.name in figured]
    data = {
        "axes": [axis.said() for axis in axes],
        "values": [
            {"name": v.name, "label": v.label, "unit": v.unit, "metric": v.metric}
            for v in shown or values[:1]
        ],
        "rows": listed,
        "places": [dict(place) for place in places],
        "reasons": [list(reason) for reason in reasons],
    }
    return ExploreView(data=_embedded(data), cells=len(rows))


def _embedded(data: object) -> Markup:
    """JSON in a script element: without ``<`` nothing in it ends the element."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    safe = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(safe)  # noqa: S704 - no character of markup is left


class _Axis:
    """One axis: its values over all rows, in order, and where a row stands among them."""

    def __init__(self, name: str, rows: Sequence[CellRow]) -> None:
        self.name = name
        found = dict.fromkeys(self._value(row) for row in rows)
        found.pop(None, None)
        self.values = sorted((v for v in found if v is not None), key=_order(name))
        self._index = {value: index for index, value in enumerate(self.values)}

    def at(self, row: CellRow) -> int | None:
        """Index of its value; ``None`` where the axis changes nothing in the cell."""
        value = self._value(row)
        return None if value is None else self._index[value]

    def said(self) -> dict[str, object]:
        """As the browser gets it."""
        label = _LABELS.get(self.name, self.name.replace("_", " "))
        titles = [spelled(self.name, value) for value in self.values]
        said: dict[str, object] = {"name": self.name, "label": label, "values": self.values}
        return said if titles == self.values else {**said, "titles": titles}

    def _value(self, row: CellRow) -> str | None:
        if self.name == "device":
            return shortened(row.device or "not known", _LONGEST)
        if self.name not in _ALWAYS and axis_text(row.cell, self.name) == "-":
            return None
        return shortened(str(getattr(row.cell, self.name)), _LONGEST)


def _order(name: str) -> Callable[[str], tuple[int, float, str]]:
    """Numbers by size, known names as the axis lists them, all others by alphabet."""
    known = AXES[name].choices if name in AXES else ()

    def key(value: str) -> tuple[int, float, str]:
        if value in known:
            return 0, known.index(value), value
        return (0, float(value), "") if value.isdecimal() else (1, 0.0, value)

    return key


def _axes(rows: Sequence[CellRow]) -> list[_Axis]:
    """Those that people ask for first, then all others in which the rows differ."""
    others = (
        name
        for name in AXES
        if name not in (*_ALWAYS, *_LEFT_OUT) and not all(follows(r.cell, name) for r in rows)
    )
    found = [_Axis(name, rows) for name in (*_ALWAYS, *others)]
    return [axis for axis in found if axis.name in _ALWAYS or len(axis.values) > 1]


def _cost_value(cost: CostView) -> list[_Value]:
    """Money per million trained tokens, where prices were given."""
    if cost.prices is None:
        return []
    money = {one.row.anchor: one.money.per_million for one in cost.rows}
    label = "cost per million trained tokens"
    return [_Value(name="cost", label=label, unit=cost.prices.currency, metric="time",
                   pick=lambda row: money.get(row.anchor))]  # fmt: skip


def _row(
    row: CellRow, values: Sequence[_Value], reasons: dict[tuple[str, str], int]
) -> dict[str, object]:
    def numbered(whys: Mapping[str, Sequence[Why]]) -> dict[str, list[int]]:
        return {
            shortened(about, _LONGEST): [
                reasons.setdefault(
                    (shortened(why.code, _LONGEST), shortened(why.sentence, 2 * _LONGEST)),
                    len(reasons),
                )
                for why in mine
            ]
            for about, mine in whys.items()
        }

    figures = {value.name: _figure(value.pick(row)) for value in values}
    return {
        "id": row.anchor,
        "name": shortened(row.name, _LONGEST),
        "statuses": row.statuses,
        "figures": {name: figure for name, figure in figures.items() if figure},
        "bad": numbered(row.invalid),
        "failed": numbered(row.failed),
        "tensors": row.memory_kind != VRAM,
        "phases": {shortened(n, _LONGEST): _rounded(s) for n, s in row.phases_s.items()},
        "ledger": _ledger(row.heaviest),
        "command": row.command,
    }


def _figure(found: float | Estimate | None) -> list[float] | None:
    """Value, and both ends of its interval where there is one."""
    if isinstance(found, Estimate):
        ends = () if found.low is None or found.high is None else (found.low, found.high)
        return [found.value, *ends]
    return None if found is None else [found]


def _rounded(figure: float) -> float:
    return float(f"{figure:.{_DIGITS}g}")


def _ledger(record: Record | None) -> dict[str, int]:
    if record is None:
        return {}
    return {owner.removesuffix("_bytes"): size for owner, size in record.ledger.items() if size}


def _steps(records: Sequence[Record]) -> list[list[float]]:
    """Seconds of the timed steps of each replicate that ran."""
    ran = (record.timing.step_s[:_MOST_STEPS] for record in records if record.status == "ok")
    return [[_rounded(seconds) for seconds in steps] for steps in ran if steps]


def _place(place: Provenance) -> dict[str, str]:
    """What the panel says of where and when."""
    versions = ", ".join(f"{name} {version}" for name, version in place.versions.items())
    kernels = ", ".join(f"{name}: {path}" for name, path in place.kernel_path.items())
    cap = "" if place.power_cap_w is None else f"{place.power_cap_w:.0f} W"
    said = {
        "device": place.device, "form factor": place.form_factor, "power cap": cap,
        "driver": place.driver, "runtime": place.runtime, "host": place.host, "system": place.os,
        "measured": place.started, "commit": place.commit, "versions": versions,
        "operators": kernels, "environment": place.environment_digest,
    }  # fmt: skip
    return {name: shortened(text, 2 * _LONGEST) for name, text in said.items() if text}


def _timeline(records: Sequence[Record], paths: Mapping[int, Path]) -> dict[str, object] | None:
    """Of the first replicate that has one with power or with a device's memory; thinned out."""
    for record in records:
        path = paths.get(id(record))
        if path is None or record.status != "ok":
            continue
        found = _lines(timeline_path(path), memory=record.memory.kind == VRAM)
        if found:
            return {"replicate": record.replicate, **found}
    return None


def _lines(path: Path, *, memory: bool) -> dict[str, list[float | None]]:
    """``t`` in s, ``power`` in W, ``memory`` in bytes; empty where there is nothing to draw. A file
    that cannot be read is named where the page lists what it could not read.
    """
    if not path.is_file() or path.stat().st_size > _LARGEST_TIMELINE:
        return {}
    try:
        samples = _thinned(decode_timeline(path.read_bytes(), str(path)))
    except InputError:
        return {}
    fields = {"power": "power_w"} | ({"memory": "memory_used_bytes"} if memory else {})
    lines = {name: [_number(s.get(field)) for s in samples] for name, field in fields.items()}
    drawn = {name: line for name, line in lines.items() if any(v is not None for v in line)}
    return {"t": [_number(s["time_s"]) for s in samples], **drawn} if drawn else {}


def _number(value: float | str | None) -> float | None:
    return None if value is None else float(f"{float(value):.{_DRAWN_DIGITS}g}")


def _thinned(timeline: Timeline) -> Sequence[Mapping[str, float | int | str | None]]:
    every = -(-len(timeline.samples) // _MOST_POINTS) or 1
    return timeline.samples[::every]
