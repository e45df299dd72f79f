"""Rows in words, alike in every output. Records are untrusted, so names are made plain here."""

__all__ = [
    "cell_names",
    "counts_text",
    "effect_text",
    "figure_text",
    "interval_text",
    "missing",
    "result_text",
    "scope_text",
]

from collections import Counter
from collections.abc import Sequence

from alignmeter.analysis.compare.result import CellComparison, Comparison, Figure
from alignmeter.analysis.metrics import METRICS
from alignmeter.text import counted, plain

_INCONCLUSIVE = (
    "inconclusive: the interval leaves open whether the change counts; more replicates narrow it"
)


def cell_names(comparison: Comparison) -> dict[tuple[str, str], str]:
    """(Cell id, device) -> the id, with the device where the comparison has more than one."""
    cells = {(row.cell_id, row.device) for row in comparison.rows}
    several = len({device for _, device in cells}) > 1
    return {cell: plain(f"{cell[0]} on {cell[1]}" if several else cell[0]) for cell in cells}


def figure_text(figure: Figure | None, metric: str) -> str:
    """A figure with its unit, in parentheses where it is invalid, or a dash."""
    if figure is None:
        return "-"
    text = METRICS[metric].text(figure.value)
    return text if figure.valid else f"({text})"


def _percent(percent: float) -> str:
    if abs(percent) < 10:
        return f"{percent:+.2f}"
    return f"{percent:+.1f}" if abs(percent) < 1000 else f"{percent:+.2g}"


def effect_text(row: CellComparison) -> str:
    """``+5.21 %``, or nothing."""
    return "" if row.effect_percent is None else f"{_percent(row.effect_percent)} %"


def interval_text(row: CellComparison) -> str:
    """``[+3.90, +6.51]`` in per cent; nothing without an interval, and for bytes."""
    exact = row.metric in METRICS and METRICS[row.metric].exact
    if row.low is None or row.high is None or exact:
        return ""
    low, high = (_percent(100 * (bound - 1)) for bound in (row.low, row.high))
    return f"[{low}, {high}]"


def scope_text(comparison: Comparison) -> str:
    """``12 cells compared, 3 to 6 replicates a side, in pairs``."""
    counts = {
        figure.replicates
        for row in comparison.rows
        for figure in (row.base, row.new)
        if figure is not None and figure.valid
    }
    text = f"{counted(comparison.compared, 'cell')} compared"
    if not counts:
        return text
    least, most = min(counts), max(counts)
    several = f"{least} to {counted(most, 'replicate')}"
    pairs = ", in pairs" if comparison.paired else ""
    return f"{text}, {counted(most, 'replicate') if least == most else several} a side{pairs}"


def result_text(row: CellComparison) -> str:
    """One line: figures, effect, interval, verdict and reason."""
    words = []
    if row.base is not None or row.new is not None:
        words.append(f"{figure_text(row.base, row.metric)} -> {figure_text(row.new, row.metric)}")
    words += [effect_text(row), interval_text(row), row.verdict]
    text = " ".join(word for word in words if word)
    return plain(f"{text}: {row.reason}" if row.reason else text)


def missing(rows: Sequence[CellComparison]) -> list[str]:
    """One line for each reason why a metric has no verdict, with the number of cells."""
    reasons = Counter(
        (row.metric, row.reason) for row in rows if row.verdict == "not available" and not row.lost
    )
    return [
        plain(f"{metric} not available in {counted(count, 'cell')}: {reason}")
        for (metric, reason), count in sorted(reasons.items(), key=lambda item: -item[1])
    ]


def counts_text(comparison: Comparison) -> list[str]:
    """``time (3 %): 1 regressed, 11 equal`` for each metric that has a verdict, with a legend."""
    lines = []
    for metric in METRICS:
        counts = Counter(row.verdict for row in comparison.rows if row.metric == metric)
        del counts["not available"]
        if counts:
            percent = f"{100 * comparison.minimum[metric]:.4g}"
            said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
            lines.append(f"{metric} ({percent} %): {said}")
    if any(row.verdict == "inconclusive" for row in comparison.rows):
        lines.append(_INCONCLUSIVE)
    figures = (figure for row in comparison.rows for figure in (row.base, row.new))
    if any(figure is not None and not figure.valid for figure in figures):
        lines.append("figures in parentheses are invalid and take part in no verdict")
    if comparison.older:
        what = counted(comparison.older, "earlier measurement")
        lines.append(f"{what} of these cells left out: of each the newest is compared")
    return lines
