"""The section on sequence length: a chart, its points, exponents, and where curves cross."""

__all__ = ["ExponentRow", "PointRow", "ScalingView", "scaling_views"]

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from alignmeter.analysis.intervals import Estimate, estimate
from alignmeter.analysis.scaling import (
    STEP_MEMORY,
    STEP_TIME,
    Crossing,
    Fit,
    Ladder,
    Quantity,
    crossings,
    exponent_text,
    fits,
    ladders,
)
from alignmeter.records.record import Record
from alignmeter.units import MIB
from alignmeter_reports.drawing.charts import Curve, Panel, log_log

_MOST_CHARTS = 12
"""Charts on a page; the tables have every ladder."""
_MIXERS = [Quantity(metric="time", part="operators", name=name) for name in ("attention", "scan")]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExponentRow:
    """One part of a step: exponents of its time and of its memory, where it has them."""

    method: str
    architecture: str
    part: str
    time: Fit | None
    memory: Fit | None
    lengths: str
    replicates: int
    time_invalid: bool
    memory_invalid: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class PointRow:
    """One length of a ladder, as the chart draws it. Times in s, the peak in bytes.

    ``mixer_s``: attention's or the scan's part of a step.
    """

    method: str
    architecture: str
    length: int
    time_s: Estimate | None
    mixer_s: float | None
    peak_bytes: float | None
    time_invalid: bool
    memory_invalid: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalingView:
    """All ladders of a machine that share their settings. ``invalid``: why figures are starred."""

    device: str
    settings: str
    chart: Markup
    points: list[PointRow]
    rows: list[ExponentRow]
    crossings: list[Crossing]
    invalid: list[str]


def scaling_views(records: Sequence[Record]) -> list[ScalingView]:
    """One per machine and settings; none where no cell was measured at three lengths."""
    all_ladders = ladders(records)
    heads = dict.fromkeys((ladder.device, ladder.settings) for ladder in all_ladders)
    return [
        _view(
            [ladder for ladder in all_ladders if (ladder.device, ladder.settings) == head],
            drawn=number < _MOST_CHARTS,
        )
        for number, head in enumerate(heads)
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fitted:
    """A ladder with its fits, which take a while where there are many replicates."""

    ladder: Ladder
    fits: dict[Quantity, Fit]


def _view(all_ladders: Sequence[Ladder], *, drawn: bool) -> ScalingView:
    fitted = [_Fitted(ladder=f, fits={fit.quantity: fit for fit in fits(f)}) for f in all_ladders]
    return ScalingView(
        device=all_ladders[0].device,
        settings=all_ladders[0].settings,
        chart=_chart(fitted) if drawn else Markup(),
        points=[row for ladder in all_ladders for row in _points(ladder)],
        rows=[row for one in fitted for row in _rows(one)],
        crossings=crossings(all_ladders),
        invalid=sorted({c for f in all_ladders for codes in f.invalid.values() for c in codes}),
    )


def _points(ladder: Ladder) -> list[PointRow]:
    lengths = {*ladder.lengths_of(STEP_TIME), *ladder.lengths_of(STEP_MEMORY)}
    rows = []
    for length in sorted(lengths):
        mixers = (_at(ladder, mixer, length) for mixer in _MIXERS)
        memory = _at(ladder, STEP_MEMORY, length)
        rows.append(
            PointRow(
                method=ladder.cell.method,
                architecture=ladder.cell.architecture,
                length=length,
                time_s=_at(ladder, STEP_TIME, length),
                mixer_s=next((mixer.value for mixer in mixers if mixer is not None), None),
                peak_bytes=None if memory is None else memory.value,
                time_invalid=bool(ladder.invalid["time"]),
                memory_invalid=bool(ladder.invalid["memory"]),
            )
        )
    return rows


def _at(ladder: Ladder, quantity: Quantity, length: int) -> Estimate | None:
    """Over replicates, where there are any."""
    if length not in ladder.lengths_of(quantity):
        return None
    return estimate(ladder.figures(quantity, length))


def _rows(fitted: _Fitted) -> list[ExponentRow]:
    ladder = fitted.ladder
    by_part: dict[tuple[str, str], dict[str, Fit]] = {}
    for quantity, fit in fitted.fits.items():
        by_part.setdefault((quantity.part, quantity.name), {})[quantity.metric] = fit
    rows = []
    for (part, name), by_metric in by_part.items():
        any_fit = next(iter(by_metric.values()))
        rows.append(
            ExponentRow(
                method=ladder.cell.method,
                architecture=ladder.cell.architecture,
                part={"step": "whole step", "phase": name}.get(part, f"operators: {name}"),
                time=by_metric.get("time"),
                memory=by_metric.get("memory"),
                lengths=f"{any_fit.lengths[0]} to {any_fit.lengths[-1]}",
                replicates=any_fit.exponent.n,
                time_invalid=bool(ladder.invalid["time"]),
                memory_invalid=bool(ladder.invalid["memory"]),
            )
        )
    return rows


def _chart(fitted: Sequence[_Fitted]) -> Markup:
    names = list(dict.fromkeys(one.ladder.cell.architecture for one in fitted))
    panels = []
    for method in dict.fromkeys(one.ladder.cell.method for one in fitted):
        time, memory = [], []
        for one in fitted:
            if one.ladder.cell.method == method:
                colour = names.index(one.ladder.cell.architecture)
                time += _time_curves(one, colour)
                memory.append(_curve(one, STEP_MEMORY, "", colour, unit=MIB))
        panels.append(
            [
                Panel(title=f"{method.upper()}: time of a step in s", curves=time),
                Panel(title=f"{method.upper()}: peak memory in MiB", curves=memory),
            ]
        )
    title = "Time and peak memory of a step versus sequence length, both axes logarithmic"
    # matplotlib writes the SVG and escapes the labels; nothing of a record gets here unescaped.
    return Markup(log_log(panels, title=title, x_label="tokens per sequence, T"))  # noqa: S704


def _time_curves(fitted: _Fitted, colour: int) -> list[Curve]:
    """The step, and its mixer dashed."""
    curves = [_curve(fitted, STEP_TIME, "", colour)]
    curves += [
        _curve(fitted, mixer, f" {mixer.name}", colour, dashed=True)
        for mixer in _MIXERS
        if fitted.ladder.lengths_of(mixer)
    ]
    return curves


def _curve(
    fitted: _Fitted,
    quantity: Quantity,
    name: str,
    colour: int,
    *,
    unit: float = 1.0,
    dashed: bool = False,
) -> Curve:
    ladder, fit = fitted.ladder, fitted.fits.get(quantity)
    exponent = "" if fit is None else f", exponent {exponent_text(fit.exponent)}"
    return Curve(
        label=f"{ladder.cell.architecture}{name}{exponent}",
        points=[
            (length, estimate(ladder.figures(quantity, length)).value / unit)
            for length in ladder.lengths_of(quantity)
        ],
        colour=colour,
        dashed=dashed,
    )
