"""Method versus method in memory: sentences per layout, ledgers, and the parts of each delta."""

__all__ = ["DeltaRow", "DeltaView", "Said", "Waterfall", "delta_rows", "delta_views", "waterfalls"]

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from alignmeter.analysis.delta import PARTS, Delta, newest
from alignmeter.analysis.metrics import METRICS
from alignmeter.analysis.sentences import sentences
from alignmeter.analysis.words import memory_text
from alignmeter.cells.axes import AXES
from alignmeter.cells.cell import Cell
from alignmeter.cells.labels import layout_text, layouts
from alignmeter.cells.naming import Naming
from alignmeter.records.record import OWNERS, VRAM, Record
from alignmeter.registry import METHODS
from alignmeter.units import bytes_text
from alignmeter_reports.cells import CellRow
from alignmeter_reports.drawing.charts import Bar, stacked_bars
from alignmeter_reports.drawing.labels import bar_label, told_apart
from alignmeter_reports.drawing.memory_charts import Step, waterfall
from alignmeter_reports.drawing.scales import BYTES

_MOST_DELTAS = 300
_MOST_CHARTS = 6
"""The table has every delta."""
_SMALL = (
    "quantisation_state",
    "rollout_cache",
    "communication",
    "workspace",
    "library_workspace",
    "batch",
    "unattributed",
)
"""Together they are ``other``, but for those that are much of a peak."""
_MUCH = 0.15


@dataclass(frozen=True, kw_only=True, slots=True)
class DeltaRow:
    """One delta and its steps from peak to peak; ``steps`` is empty without both ledgers.

    ``name``: of the second cell without its method, which no other one here has; ``place``: device
    and kind of memory.
    """

    delta: Delta
    steps: list[Step]
    name: str
    place: str

    @property
    def parts(self) -> dict[str, Step]:
        """Part -> its step, in the order of `PARTS`."""
        return {step.name: step for step in self.steps if not step.total}


@dataclass(frozen=True, kw_only=True, slots=True)
class Waterfall:
    """One chart and the sentence below it."""

    caption: str
    chart: Markup


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """What the deltas of one ``place`` say: layout of the second method -> sentences."""

    place: str
    layouts: dict[str, list[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class DeltaView:
    """One pair of methods, whose ``names`` are ``less`` and ``more``. ``parts``: of each, in order.

    ``hidden``: deltas that found no room among ``rows``, ``shared``: what their cells have in
    common. ``unmeasured``: layouts that no cell here has. ``drawn``: how many of the deltas the
    pictures have, ``ledgers`` and for a telephone ``narrow``. ``ranged``: a sentence has
    bytes of replicates in brackets.
    """

    less: str
    more: str
    rows: list[DeltaRow]
    hidden: int
    shared: str
    parts: list[str]
    said: list[Said]
    ranged: bool
    unmeasured: list[str]
    ledgers: Markup
    narrow: Markup
    drawn: int
    waterfalls: list[Waterfall]


def delta_views(
    deltas: Sequence[Delta], cells: Sequence[CellRow], records: Sequence[Record]
) -> list[DeltaView]:
    """One per pair of methods that was measured, in the order of `DELTAS`.

    ``cells`` and ``records``: what the page shows, in which these are the deltas.
    """
    pairs: dict[tuple[str, str], list[Delta]] = {}
    for delta in deltas:
        pairs.setdefault((delta.cell.method, delta.versus.method), []).append(delta)
    return [_view(mine, cells, records) for mine in pairs.values()]


def _view(
    deltas: Sequence[Delta], cells: Sequence[CellRow], records: Sequence[Record]
) -> DeltaView:
    rows = delta_rows(deltas[:_MOST_DELTAS])
    drawn, said = _pictured(deltas), _said(deltas)
    less, more = deltas[0].names
    return DeltaView(
        less=less,
        more=more,
        rows=rows,
        hidden=len(deltas) - len(rows),
        shared=Naming(delta.versus for delta in deltas[:_MOST_DELTAS]).shared,
        parts=list(PARTS),
        said=said,
        ranged=any("[" in s for one in said for found in one.layouts.values() for s in found),
        unmeasured=_unmeasured(deltas[0].versus.method, cells),
        ledgers=_ledgers(records, drawn),
        narrow=_ledgers(records, drawn, narrow=True),
        drawn=len(drawn),
        waterfalls=waterfalls(delta_rows(newest(deltas))),
    )


def delta_rows(deltas: Sequence[Delta]) -> list[DeltaRow]:
    """One row per delta, in their order."""
    named = Naming(delta.versus for delta in deltas)
    return [
        DeltaRow(
            delta=delta,
            steps=_steps(delta),
            name=named.of(delta.versus, without=("method",)),
            place=_place(delta),
        )
        for delta in deltas
    ]


def _place(delta: Delta) -> str:
    """Where it was measured, and what kind of memory it is."""
    return f"{delta.device} ({memory_text(delta.kind)})"


def _steps(delta: Delta) -> list[Step]:
    if not delta.parts:
        return []
    at, end = delta.peak_bytes, delta.versus_peak_bytes
    less, more = delta.names
    steps = [Step(name=f"{less}'s peak", start=0, end=at, percent=delta.share(at), total=True)]
    for name in PARTS:
        count = delta.parts[name]
        steps.append(Step(name=name, start=at, end=at + count, percent=delta.share(count)))
        at += count
    return [*steps, Step(name=f"{more}'s peak", start=0, end=end, percent=100.0, total=True)]


def waterfalls(rows: Sequence[DeltaRow]) -> list[Waterfall]:
    """Of the deltas that the picture of ledgers has, in the order of the rows; none of those that
    are nothing in every part.
    """
    moved = [row for row in rows if any(step.bytes for step in row.parts.values())]
    chosen = _pictured([row.delta for row in moved])
    pictures = [_picture(row) for row in moved if row.delta in chosen]
    return [picture for picture in pictures if picture.chart]


def _rank(delta: Delta) -> tuple[object, ...]:
    axes, row = delta.versus.axes(), METHODS.get(delta.versus.method)
    named = (*(row.layout if row else ()), "peft")
    order = (_position(name, str(axes[name])) for name in named)
    return delta.kind != VRAM, *order


def _position(axis: str, value: str) -> int:
    choices = AXES[axis].choices
    return choices.index(value) if value in choices else len(choices)


def _picture(row: DeltaRow) -> Waterfall:
    delta = row.delta
    less, more = delta.names
    caption = f"{row.name}, {row.place}"
    svg = waterfall(row.steps, title=f"From {less}'s peak to {more}'s: {caption}")
    # matplotlib writes the SVG and escapes the labels; nothing of a record gets here unescaped.
    return Waterfall(caption=caption, chart=Markup(svg))  # noqa: S704


def _ledgers(records: Sequence[Record], deltas: Sequence[Delta], *, narrow: bool = False) -> Markup:
    """The ledgers behind each delta, of the replicates whose peaks it has; empty without any."""
    if not deltas:
        return Markup("")
    ledgers = {
        (r.cell, r.provenance.device, r.memory.allocated_peak_bytes): r.ledger
        for r in records
        if r.ledger
    }
    drawn: dict[tuple[Cell, str, int], tuple[str, dict[str, int]]] = {}
    named = told_apart(delta.versus for delta in deltas)
    devices = len({delta.device for delta in deltas}) > 1
    for delta in deltas:
        sides = (delta.cell, delta.peak_bytes), (delta.versus, delta.versus_peak_bytes)
        for cell, peak in sides:
            key = cell, delta.name, peak
            if key in ledgers:
                label = bar_label(cell, named)
                label += f" on {delta.device}" if devices else ""
                drawn.setdefault(key, (label, ledgers[key]))
    small = _small([ledger for _, ledger in drawn.values()])
    bars = [Bar(label=name, parts=_ledger_parts(led, small)) for name, led in drawn.values()]
    methods = " versus ".join(deltas[0].names)
    title = f"Bytes at the peak of one step by owner, {methods}"
    svg = stacked_bars(
        bars, title=title, axis="at the peak of one step", quantity=BYTES, narrow=narrow
    )
    # matplotlib writes the SVG and escapes the labels; nothing of a record gets here unescaped.
    return Markup(svg)  # noqa: S704


def _ledger_parts(ledger: dict[str, int], small: Collection[str]) -> dict[str, float]:
    """Bytes by owner, the small ones together as ``other``."""
    parts = {
        owner.replace("_", " "): float(ledger.get(f"{owner}_bytes", 0))
        for owner in OWNERS
        if owner not in small
    }
    parts["other"] = sum(ledger.get(f"{owner}_bytes", 0) for owner in small)
    return parts


def _small(ledgers: Collection[dict[str, int]]) -> list[str]:
    """Owners that no ledger of the picture has much of."""
    return [
        owner
        for owner in _SMALL
        if all(led.get(f"{owner}_bytes", 0) < _MUCH * sum(led.values()) for led in ledgers)
    ]


def _pictured(deltas: Sequence[Delta]) -> list[Delta]:
    """At most six: VRAM and the default layout first, each PEFT mode once on every device."""
    names = ("architecture", "peft")
    ranked = sorted(
        (delta for delta in newest(deltas) if delta.parts),
        key=lambda d: (*_rank(d)[:-1], *(_position(n, str(getattr(d.versus, n))) for n in names)),
    )
    firsts: dict[tuple[str, ...], Delta] = {}
    for delta in ranked:
        firsts.setdefault((delta.device, *(str(getattr(delta.versus, n)) for n in names)), delta)
    drawn = list(firsts.values())
    return [*drawn, *(delta for delta in ranked if delta not in drawn)][:_MOST_CHARTS]


def _said(deltas: Sequence[Delta]) -> list[Said]:
    """For each device's newest environment a sentence per layout, and more where pairs turn."""
    places: dict[str, dict[str, list[Delta]]] = {}
    for delta in newest(deltas):
        mine = places.setdefault(_place(delta), {})
        mine.setdefault(layout_text(delta.versus), []).append(delta)
    order = [*layouts(deltas[0].versus.method), *(layout_text(d.versus) for d in deltas)]
    return [
        Said(place=place, layouts={name: _sentences(found[name])
                                   for name in sorted(found, key=order.index)})
        for place, found in places.items()
    ]  # fmt: skip


def _sentences(deltas: Sequence[Delta]) -> list[str]:
    """``DPO saves 25 % (1 MiB of 4 MiB)``; of several pairs the range and their number."""
    metric, less = METRICS["memory"], deltas[0].names[0]
    ratios = [(delta.versus, delta.ratio) for delta in deltas]
    found = [str(one) for one in sentences(ratios, metric, asked="method", subject=less)]
    if len(deltas) == 1:
        peak = bytes_text(deltas[0].versus_peak_bytes)
        how = "of" if deltas[0].bytes >= 0 else "above"
        found[0] += f" ({bytes_text(abs(deltas[0].bytes))} {how} {peak})"
    return found


def _unmeasured(method: str, rows: Sequence[CellRow]) -> list[str]:
    mine = (row for row in rows if row.cell.method == method and "ok" in row.statuses)
    measured = {layout_text(row.cell) for row in mine}
    return [name for name in layouts(method) if name not in measured]
