"""From DPO's peak to PPO's: the parts of each delta, and a chart of the most telling ones."""

__all__ = ["DeltaRow", "Waterfall", "delta_rows", "place_of", "waterfalls"]

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from alignmeter.analysis.delta import PARTS, Delta
from alignmeter.cells.axes import AXES
from alignmeter.records.record import VRAM
from alignmeter_reports.drawing.memory_charts import Step, waterfall
from alignmeter_reports.sections.cells import layout

_MOST = 6
"""Charts on a page; the table has every delta."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeltaRow:
    """One delta and its steps from peak to peak; ``steps`` is empty without both ledgers.

    ``place``: device and kind of memory, where the rows of a table could be mistaken for another.
    """

    delta: Delta
    steps: list[Step]
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


def delta_rows(found: Sequence[Delta]) -> list[DeltaRow]:
    """One row per delta, in their order."""
    names = {(d.versus.architecture, d.versus.peft, layout(d.versus)) for d in found}
    places = {place_of(delta) for delta in found}
    unclear = len(names) < len(found) or len(places) > 1
    return [
        DeltaRow(delta=delta, steps=_steps(delta), place=place_of(delta) if unclear else "")
        for delta in found
    ]


def place_of(delta: Delta) -> str:
    """Where it was measured, and what kind of memory it is."""
    return f"{delta.device} ({delta.kind})"


def _steps(delta: Delta) -> list[Step]:
    if not delta.parts:
        return []
    at, end = delta.peak_bytes, delta.versus_peak_bytes
    steps = [Step(name="DPO's peak", start=0, end=at, percent=delta.share(at), total=True)]
    for name in PARTS:
        count = delta.parts[name]
        steps.append(Step(name=name, start=at, end=at + count, percent=delta.share(count)))
        at += count
    return [*steps, Step(name="PPO's peak", start=0, end=end, percent=100.0, total=True)]


def waterfalls(rows: Sequence[DeltaRow]) -> list[Waterfall]:
    """At most six, in the order of the rows.

    VRAM comes first, then the default layout of PPO, then full fine-tuning before LoRA and QLoRA;
    each architecture and PEFT mode is drawn once before any is drawn twice.
    """
    pictures = [_picture(row) for row in _telling(rows)]
    return [picture for picture in pictures if picture.chart]


def _telling(rows: Sequence[DeltaRow]) -> list[DeltaRow]:
    ranked = sorted((row for row in rows if row.steps), key=lambda row: _rank(row.delta))
    firsts: dict[tuple[str, ...], DeltaRow] = {}
    for row in ranked:
        key = row.delta.kind, row.delta.device, row.delta.versus.architecture, row.delta.versus.peft
        firsts.setdefault(key, row)
    first = list(firsts.values())
    chosen = [*first, *(row for row in ranked if row not in first)][:_MOST]
    return [row for row in rows if row in chosen]


def _rank(delta: Delta) -> tuple[object, ...]:
    axes = delta.versus.axes()
    order = (_position(name, str(axes[name])) for name in ("ppo_topology", "ppo_backward", "peft"))
    return delta.kind != VRAM, *order


def _position(axis: str, value: str) -> int:
    choices = AXES[axis].choices
    return choices.index(value) if value in choices else len(choices)


def _picture(row: DeltaRow) -> Waterfall:
    delta = row.delta
    what = f"{delta.versus.architecture}, {delta.versus.peft}, PPO {layout(delta.versus)}"
    caption = f"{what}, T = {delta.versus.seq_len}, {place_of(delta)}"
    svg = waterfall(row.steps, title=f"From DPO's peak to PPO's: {caption}")
    # matplotlib writes the SVG and escapes the labels; nothing of a record gets here unescaped.
    return Waterfall(caption=caption, chart=Markup(svg))  # noqa: S704
