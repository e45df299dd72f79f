"""The section on sequence length: a chart, its points, exponents, and where curves cross."""

__all__ = ["ExponentRow", "PointRow", "ScalingView", "scaling_views"]

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from alignmeter.analysis.intervals import Estimate, estimate
from alignmeter.analysis.likeness import Group
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
from alignmeter.cells.labels import spelled
from alignmeter.records.record import Record
from alignmeter_reports.drawing.charts import Curve, Panel, log_log
from alignmeter_reports.drawing.scales import BYTES, SECONDS

_MOST_CHARTS = 12
"""Charts on a page; the tables have every ladder."""
_MOST_NAMES = 8
"""Architectures and devices on one pair of axes: as many as there are colours for data."""
_MIXERS = [Quantity(metric="time", part="operators", name=name) for name in ("attention", "scan")]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExponentRow:
    """One part of a step: exponents of its time and of its memory, where it has them."""

    device: str
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

    device: str
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
    """All ladders that share their settings, of every device. ``invalid``: why figures are starred.

    ``crossings``: each with the device that it was found on. ``undrawn``: what the chart has no
    room for.
    """

    devices: list[str]
    settings: str
    chart: Markup
    undrawn: int
    points: list[PointRow]
    rows: list[ExponentRow]
    crossings: list[tuple[str, Crossing]]
    invalid: list[str]


def scaling_views(records: Sequence[Record], found: Sequence[Group]) -> list[ScalingView]:
    """One per settings; none where no cell was measured at three lengths. ``found``: the groups of
    the records.
    """
    families: dict[tuple[str, str], list[Ladder]] = {}
    for ladder in ladders(records, found):
        families.setdefault(_settings(ladder), []).append(ladder)
    return [
        _view(mine, drawn=number < _MOST_CHARTS) for number, mine in enumerate(families.values())
    ]


def _settings(ladder: Ladder) -> tuple[str, str]:
    """What two devices must share to stand on one pair of axes, in words."""
    cell = ladder.cell
    return cell.name("method", "architecture", "seq_len", "accelerator"), cell.precision


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fitted:
    """A ladder with its fits, which take a while where there are many replicates.

    ``name``: its architecture, with the device where the view has several.
    """

    ladder: Ladder
    name: str
    fits: dict[Quantity, Fit]


def _view(all_ladders: Sequence[Ladder], *, drawn: bool) -> ScalingView:
    devices = list(dict.fromkeys(ladder.device for ladder in all_ladders))
    fitted = [
        _Fitted(
            ladder=ladder,
            name=f"{ladder.cell.architecture}{f', {ladder.device}' if len(devices) > 1 else ''}",
            fits={fit.quantity: fit for fit in fits(ladder)},
        )
        for ladder in all_ladders
    ]
    shown = _measured_last(fitted)
    return ScalingView(
        devices=devices,
        settings=", ".join(_settings(all_ladders[0])),
        chart=_chart([one for one in fitted if one.name in shown]) if drawn else Markup(),
        undrawn=len({one.name for one in fitted}) - len(shown) if drawn else 0,
        points=[row for ladder in all_ladders for row in _points(ladder)],
        rows=[row for one in fitted for row in _rows(one)],
        crossings=[
            (device, crossing)
            for device in devices
            for crossing in crossings([f for f in all_ladders if f.device == device])
        ],
        invalid=sorted({c for f in all_ladders for codes in f.invalid.values() for c in codes}),
    )


def _measured_last(fitted: Sequence[_Fitted]) -> list[str]:
    """Names that a chart has room for."""
    newest = sorted(fitted, key=lambda one: one.ladder.latest, reverse=True)
    return list(dict.fromkeys(one.name for one in newest))[:_MOST_NAMES]


def _points(ladder: Ladder) -> list[PointRow]:
    lengths = {*ladder.lengths_of(STEP_TIME), *ladder.lengths_of(STEP_MEMORY)}
    rows = []
    for length in sorted(lengths):
        mixers = (_at(ladder, mixer, length) for mixer in _MIXERS)
        memory = _at(ladder, STEP_MEMORY, length)
        rows.append(
            PointRow(
                device=ladder.device,
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
                device=ladder.device,
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
    names = list(dict.fromkeys(one.name for one in fitted))
    panels = []
    for method in dict.fromkeys(one.ladder.cell.method for one in fitted):
        time, memory, name = [], [], spelled("method", method)
        for one in fitted:
            if one.ladder.cell.method == method:
                colour = names.index(one.name)
                time += _time_curves(one, colour)
                memory.append(_curve(one, STEP_MEMORY, "", colour))
        panels.append(
            [
                Panel(title=f"{name}: time of a step", curves=time, quantity=SECONDS),
                Panel(title=f"{name}: peak memory", curves=memory, quantity=BYTES),
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
    fitted: _Fitted, quantity: Quantity, name: str, colour: int, *, dashed: bool = False
) -> Curve:
    ladder, fit = fitted.ladder, fitted.fits.get(quantity)
    exponent = "" if fit is None else f", exponent {exponent_text(fit.exponent)}"
    figures = {t: estimate(ladder.figures(quantity, t)) for t in ladder.lengths_of(quantity)}
    return Curve(
        label=f"{fitted.name}{name}{exponent}",
        points=[(length, figure.value) for length, figure in figures.items()],
        colour=colour,
        dashed=dashed,
        intervals={
            length: (figure.low, figure.high)
            for length, figure in figures.items()
            if figure.low is not None and figure.high is not None
        },
    )
