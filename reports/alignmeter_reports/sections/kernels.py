"""This project's kernels versus what they replace: like cells that differ in the kernels alone."""

__all__ = ["KernelsRow", "kernels_chart", "kernels_rows"]

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.figure import Figure

from alignmeter.analysis.claims.ratios import metric_ratio
from alignmeter.analysis.intervals import Estimate
from alignmeter.analysis.likeness import Group
from alignmeter.analysis.pairings import pairings
from alignmeter.cells.labels import cell_text
from alignmeter.text import shortened
from alignmeter_reports.drawing.svg import INK, LARGEST, PALETTE, literal, plain, settings, svg_text

_MOST_DRAWN = 40
_MOST_DESCRIBED = 12
_LONGEST_NAME = 80


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelsRow:
    """custom / ``base`` of a step's time and peak; ``None`` with the reason beside it."""

    what: str
    device: str
    base: str
    cells: tuple[str, str]
    time: Estimate | None
    time_reason: str
    memory: Estimate | None
    memory_reason: str


def kernels_rows(groups: Sequence[Group]) -> list[KernelsRow]:
    """One per pair of cells on one device, those with stock kernels first."""
    rows = []
    for base in ("stock", "vendor"):
        for pair in pairings(groups, "kernels", base, ("custom",)):
            time, time_reason = metric_ratio(pair.base, pair.other, "time")
            memory, memory_reason = metric_ratio(pair.base, pair.other, "memory")
            rows.append(
                KernelsRow(
                    what=cell_text(pair.base.cell, without=("kernels",)),
                    device=pair.base.where,
                    base=base,
                    cells=(pair.other.cell.id, pair.base.cell.id),
                    time=time,
                    time_reason=time_reason,
                    memory=memory,
                    memory_reason=memory_reason,
                )
            )
    return rows


def kernels_chart(rows: Sequence[KernelsRow]) -> Markup:
    """Both ratios of each pair on one logarithmic axis; left of the line ours need less."""
    drawn = [row for row in rows if row.time or row.memory][:_MOST_DRAWN]
    if not drawn:
        return Markup()
    with settings():
        figure = Figure(figsize=(8.2, 1.0 + 0.3 * len(drawn)), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(1.0, color=INK, linewidth=1)
        for name, marker, colour in (("time", "o", PALETTE[0]), ("memory", "D", PALETTE[5])):
            marked = [
                (place, ratio)
                for place, row in enumerate(drawn)
                if (ratio := getattr(row, name)) is not None and 1 / LARGEST < ratio.value < LARGEST
            ]
            axes.errorbar(
                [ratio.value for _, ratio in marked],
                [place for place, _ in marked],
                xerr=_reach([ratio for _, ratio in marked]),
                marker=marker, linestyle="none", color=colour, capsize=2,
                label="step time" if name == "time" else "peak memory",
            )  # fmt: skip
        axes.set_yticks(
            range(len(drawn)), [literal(f"{row.what}, versus {row.base}") for row in drawn]
        )
        axes.invert_yaxis()
        axes.set_xscale("log")
        axes.set_xlabel("this project's kernels, as a share of the others'")
        figure.legend(loc="outside upper left", ncols=2, frameon=False, labelcolor=INK)
        plain(figure, axes)
        title = "Step time and peak memory with custom kernels versus others"
        text = svg_text(figure, title, "; ".join(map(_description, drawn[:_MOST_DESCRIBED])) + ".")
    # matplotlib wrote it and escaped the labels.
    return Markup(text)  # noqa: S704


def _description(row: KernelsRow) -> str:
    """A pair's ratios, for who does not see them."""
    ratios = {"step time": row.time, "peak memory": row.memory}
    texts = [f"{name} {ratio.value:.3g} times" for name, ratio in ratios.items() if ratio]
    return f"{shortened(row.what, _LONGEST_NAME)}, versus {row.base}: {', '.join(texts)}"


def _reach(ratios: Sequence[Estimate]) -> list[list[float]]:
    """How far each interval goes to the left and to the right; nowhere without one."""
    return [
        [e.value - e.low if e.low is not None else 0.0 for e in ratios],
        [e.high - e.value if e.high is not None else 0.0 for e in ratios],
    ]
