"""A ratio in words, the same in page, Markdown and terminal.

    5.4x faster [5.1, 5.7]                  the interval excludes no change, and it is large enough
    saves 61 % [58, 63]
    equal within 3 % (-1 % to +2 %)         the whole interval is nearer than what counts
    no clear difference (-9 % to +34 %)     the interval leaves open whether there is any
    at the edge of 3 % (+2 % to +5 %)       or whether it is large enough to count

A ratio is what is asked about over what it is held against, of one pair of like cells. Of several
pairs there is no mean: the words give their range, and how many say it.
"""

__all__ = ["Saying", "factor_text", "figure_text", "lean", "memory_text", "percent_text",
           "range_text", "ratio_text", "sayings", "several_text"]  # fmt: skip

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from alignmeter.analysis.intervals import LEAST_REPLICATES, Estimate, outcome
from alignmeter.analysis.metrics import METRICS, Metric
from alignmeter.records.record import VRAM

_TIMES = "\N{MULTIPLICATION SIGN}"
_MINUS = "\N{MINUS SIGN}"
_DASH = "\N{EN DASH}"
_Say = Callable[[float, float], str]
"""A ratio in digits that suit another one."""


def lean(figure: Estimate, metric: Metric) -> int:
    """-1 or 1 where the figure is clearly below or above 1, and 0 otherwise.

    Without an interval the value alone decides.
    """
    said = outcome(figure, metric.minimum)
    if said == "not available":
        limit = 1 + metric.minimum
        return (figure.value >= limit) - (figure.value <= 1 / limit)
    return {"regressed": 1, "improved": -1}.get(said, 0)


def memory_text(kind: str) -> str:
    """A record's kind of memory as people write it: ``VRAM``, ``CPU tensor storage``."""
    return "VRAM" if kind == VRAM else kind.replace("cpu ", "CPU ")


def factor_text(factor: float, like: float | None = None) -> str:
    """``1.08``, ``5.4``, ``120``: two or three digits that count; as many as ``like`` has."""
    size = round(factor if like is None else like, 6)
    digits = 2 if size < 2 else 1 if size < 100 else 0
    return f"{factor:.{digits}f}"


def percent_text(percent: float, like: float | None = None) -> str:
    """``0.4``, ``61``, ``99.7``: without sign or unit, as many digits as ``like`` has.

    Never rounded up to all of it.
    """
    size = round(abs(percent if like is None else like), 6)
    fine = size < 10 or 99 < size < 100
    return f"{abs(percent):.1f}" if fine else f"{abs(percent):.0f}"


def ratio_text(figure: Estimate, metric: Metric, subject: str = "") -> str:
    """One pair. ``subject``: what saves or needs, if it is to be named."""
    kind = _kind(figure, metric)
    if kind in _OPEN:
        return _kind_text(kind, [figure], metric, subject)
    side = lean(figure, metric)
    if not side:
        return f"{_signed(figure.value)}, {_BARE}"
    say, form = _form([figure], metric, subject)
    value = figure.value
    text = form.format(say(value, value))
    if figure.low is None or figure.high is None:
        return f"{text}, {_BARE}"
    return f"{text}{_span(figure, say)}"


_BARE = f"no interval below {LEAST_REPLICATES} replicates"


def several_text(figures: Sequence[Estimate], metric: Metric, subject: str = "") -> str:
    """The same of several pairs, those that are clear first; of one pair `ratio_text`."""
    if len(figures) == 1:
        return ratio_text(figures[0], metric, subject)
    total, parts = len(figures), []
    for kind, mine in _kinds(figures, metric).items():
        share = _share(len(mine), total)
        parts.append(f"{_kind_text(kind, mine, metric, subject)} in {share} pairs")
    return "; ".join(parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Saying:
    """What ``pairs`` of several pairs say. ``head``: what it is, as ``faster``; ``text``: its
    figures, ``1.10 to 1.14x in 2 of 3`` where others say something else. ``rank``: its place among
    all that can be said.
    """

    rank: int
    head: str
    text: str
    pairs: int


def sayings(figures: Sequence[Estimate], metric: Metric, subject: str = "") -> list[Saying]:
    """`several_text` in parts, for a list of what many such have to say."""
    found = []
    for kind, mine in _kinds(figures, metric).items():
        head, text = _headed(kind, mine, metric, subject)
        if len(mine) < len(figures):
            text = f"{text} in {_share(len(mine), len(figures))}".lstrip()
        found.append(Saying(rank=_KINDS.index(kind), head=head, text=text, pairs=len(mine)))
    return found


def _headed(
    kind: str, figures: Sequence[Estimate], metric: Metric, subject: str
) -> tuple[str, str]:
    """``saves`` and ``5.0 to 5.6 %``; a single figure with its interval."""
    if kind == "equal" and _unchanged(figures):
        return "the same", ""
    if kind in _OPEN:
        return _open_text(kind, metric), _hull(figures)
    values = [figure.value for figure in figures]
    if kind == "not available":
        return "without an interval", _signed_range(min(values), max(values))
    say, form = _form(figures, metric, "")
    times = f"{{}}{_TIMES}"
    text = f"{_ends(values, say)}{_TIMES if times in form else ' %'}"
    text += _span(figures[0], say) if len(figures) == 1 else ""
    if metric.speed:
        return form.removeprefix(f"{times} "), text
    head = "saves" if kind == "less" else f"{metric.more} more"
    return f"{subject} {head}".lstrip(), text


def _span(figure: Estimate, say: _Say) -> str:
    """`` [5.1, 5.7]``; empty without an interval, or where it is a point."""
    if figure.low is None or figure.high is None or figure.low == figure.high:
        return ""
    ends = sorted((say(end, figure.value) for end in (figure.low, figure.high)), key=float)
    return f" [{', '.join(ends)}]"


def _share(count: int, total: int) -> str:
    """``both``, ``all 4``, ``3 of 4``."""
    if count < total:
        return f"{count} of {total}"
    return "both" if total == 2 else f"all {total}"


_KINDS = ("less", "more", "edge", "equal", "inconclusive", "not available")
"""What can be said of a pair, in the order in which it is said."""
_OPEN = ("edge", "equal", "inconclusive")


def _kind(figure: Estimate, metric: Metric) -> str:
    said = outcome(figure, metric.minimum)
    if said == "inconclusive" and ((figure.low or 0) > 1 or (figure.high or 0) < 1):
        return "edge"
    return {"regressed": "more", "improved": "less"}.get(said, said)


def _kinds(figures: Sequence[Estimate], metric: Metric) -> dict[str, list[Estimate]]:
    """What is said of pairs -> those of which it is said."""
    found: dict[str, list[Estimate]] = {name: [] for name in _KINDS}
    for figure in figures:
        found[_kind(figure, metric)].append(figure)
    return {name: mine for name, mine in found.items() if mine}


def _kind_text(kind: str, figures: Sequence[Estimate], metric: Metric, subject: str) -> str:
    if kind == "equal" and _unchanged(figures):
        return "the same"
    if kind in _OPEN:
        return f"{_open_text(kind, metric)} ({_hull(figures)})"
    values = [figure.value for figure in figures]
    if kind == "not available":
        return f"{_signed_range(min(values), max(values))} without an interval"
    say, form = _form(figures, metric, subject)
    return form.format(_ends(values, say))


def _unchanged(figures: Iterable[Estimate]) -> bool:
    return all(figure.low == figure.high == 1 for figure in figures)


def _open_text(kind: str, metric: Metric) -> str:
    least = f"{100 * metric.minimum:g} %"
    return {
        "edge": f"at the edge of {least}",
        "equal": f"equal within {least}",
        "inconclusive": "no clear difference",
    }[kind]


def _form(figures: Sequence[Estimate], metric: Metric, subject: str) -> tuple[_Say, str]:
    """How values on one side of 1 are said, and the sentence about them."""
    who = f"{subject} " if subject else ""
    least = min(figure.value for figure in figures)
    if metric.speed:
        word = "faster" if (least > 1) == metric.higher_is_better else "slower"
        return factor_text if least > 1 else _inverse, f"{{}}{_TIMES} {word}"
    if least > 2:
        return factor_text, f"{who}{metric.more} {{}}{_TIMES} as much"
    if least > 1:
        return _more, f"{who}{metric.more} {{}} % more"
    return _less, f"{who}saves {{}} %"


def _inverse(ratio: float, like: float) -> str:
    return factor_text(1 / ratio, 1 / like)


def _less(ratio: float, like: float) -> str:
    return percent_text(100 * (1 - ratio), 100 * (1 - like))


def _more(ratio: float, like: float) -> str:
    return percent_text(100 * (ratio - 1), 100 * (like - 1))


def _ends(values: Sequence[float], say: _Say) -> str:
    """The least and the most as they are said, which turns the order of some; once if alike."""
    low, high = sorted((say(value, value) for value in (min(values), max(values))), key=float)
    return low if low == high else f"{low} to {high}"


def _signed(ratio: float) -> str:
    """``+34 %``: a change, whatever it is worth."""
    text = percent_text(100 * (ratio - 1))
    sign = "" if float(text) == 0 else _MINUS if ratio < 1 else "+"
    return f"{sign}{text} %"


def _signed_range(low: float, high: float) -> str:
    ends = _signed(low), _signed(high)
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def _hull(figures: Sequence[Estimate]) -> str:
    """The lowest and the highest bound: each interval lies between them."""
    lows = [figure.value if figure.low is None else figure.low for figure in figures]
    highs = [figure.value if figure.high is None else figure.high for figure in figures]
    return _signed_range(min(lows), max(highs))


def figure_text(figure: Estimate | None, unit: str) -> str:
    """A figure in ``unit`` with its interval, if it has one: a metric's ratio in its words, per
    cent, an exponent (``k``), or a count of what ``unit`` names.
    """
    if figure is None:
        return _DASH
    if unit in METRICS:
        return ratio_text(figure, METRICS[unit])
    text = _with_unit(_bare(figure.value, unit), unit)
    if figure.low is None or figure.high is None or figure.low == figure.high:
        return text
    return f"{text} [{_bare(figure.low, unit)}, {_bare(figure.high, unit)}]"


def range_text(figures: Sequence[Estimate], unit: str) -> str:
    """The same of several: the least and the most."""
    if not figures:
        return _DASH
    if len(figures) == 1:
        return figure_text(figures[0], unit)
    if unit in METRICS:
        return several_text(figures, METRICS[unit])
    values = [figure.value for figure in figures]
    least, most = _bare(min(values), unit), _bare(max(values), unit)
    return _with_unit(least if least == most else f"{least} to {most}", unit)


def _bare(value: float, unit: str) -> str:
    if unit == "k":
        return f"{value:.2f}"
    return f"{value:.1f}" if unit == "%" else f"{value:.4g}"


def _with_unit(text: str, unit: str) -> str:
    return f"k = {text}" if unit == "k" else f"{text} {unit}".rstrip()
