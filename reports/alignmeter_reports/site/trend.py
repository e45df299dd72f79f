"""A cell's step time over its nights, as a small inline SVG that needs no library."""

__all__ = ["trend"]

from collections.abc import Collection, Sequence

from markupsafe import Markup, escape

from alignmeter.units import seconds_text
from alignmeter_reports.site.cells import CellNight

_WIDE, _HIGH, _LEFT, _BELOW, _TOP = 720, 200, 70, 26, 14
_LARGEST = 1e12
"""No step takes as many seconds: records are untrusted."""


def trend(nights: Sequence[CellNight], changed: Collection[str]) -> Markup:
    """A point per night with its 95 % interval, hollow where the time is invalid; a dashed line
    before each night from which the level is another. Empty below two points.
    """
    timed = [one for one in nights if one.row.time_s and 0 < one.row.time_s.value < _LARGEST]
    if len(timed) < 2:
        return Markup()
    places = [_Point(one, index) for index, one in enumerate(timed)]
    low, high = min(point.low for point in places), max(point.high for point in places)
    room = 0.1 * (high - low) or 0.1 * high
    low, high = max(0.0, low - room), high + room
    width = (_WIDE - _LEFT - 20) / max(1, len(places) - 1)

    def across(index: float) -> float:
        return _LEFT + 8 + index * width

    def up(seconds: float) -> float:
        return _TOP + (high - seconds) / (high - low) * (_HIGH - _BELOW - _TOP)

    line = " ".join(f"{across(p.index):.1f},{up(p.value):.1f}" for p in places)
    parts = [f'<polyline class="line" points="{line}"/>']
    for point in places:
        x = across(point.index)
        parts.append(
            f'<path class="whisker" d="M{x:.1f} {up(point.low):.1f}V{up(point.high):.1f}"/>'
        )
        kind = "mark invalid" if "time" in point.one.row.invalid else "mark valid"
        parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{up(point.value):.1f}" r="3.5"/>')
        if point.one.night in changed:
            x = across(point.index - 0.5)
            parts.append(f'<path class="change" d="M{x:.1f} {_TOP}V{_HIGH - _BELOW}"/>')
    parts += _axes(low, high, places[0].one.night, places[-1].one.night)
    said = f"Step time over {len(places)} nights"
    # Numbers, classes and escaped names of nights: nothing of a record stands in it as it is.
    return Markup(  # noqa: S704
        f'<svg class="plot wide" viewBox="0 0 {_WIDE} {_HIGH}" role="img" aria-label="{said}">'
        f"{''.join(parts)}</svg>"
    )


class _Point:
    def __init__(self, one: CellNight, index: int) -> None:
        found = one.row.time_s
        if found is None:
            raise ValueError("a point has a time")
        self.one, self.index, self.value = one, index, found.value
        self.low = found.value if found.low is None else found.low
        self.high = found.value if found.high is None else found.high


def _axes(low: float, high: float, first: str, last: str) -> list[str]:
    floor = _HIGH - _BELOW
    texts = (
        (_LEFT - 6, _TOP + 8, "end", seconds_text(high)),
        (_LEFT - 6, floor, "end", seconds_text(low)),
        (_LEFT, _HIGH - 8, "start", first),
        (_WIDE - 6, _HIGH - 8, "end", last),
    )
    drawn = [f'<path class="frame" d="M{_LEFT} {_TOP}V{floor}H{_WIDE - 6}"/>']
    return drawn + [
        f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'
        for x, y, anchor, text in texts
    ]
