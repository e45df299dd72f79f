"""This project's kernels beside what they replace: like cells that differ in the kernels alone."""

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
_MOST_SAID = 12
_LONGEST_SAID = 80


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
                    device=pair.base.device,
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
                (place, found)
                for place, row in enumerate(drawn)
                if (found := getattr(row, name)) is not None and 1 / LARGEST < found.value < LARGEST
            ]
            axes.errorbar(
                [found.value for _, found in marked],
                [place for place, _ in marked],
                xerr=_reach([found for _, found in marked]),
                marker=marker, linestyle="none", color=colour, capsize=2,
                label="step time" if name == "time" else "peak memory",
            )  # fmt: skip
        axes.set_yticks(
            range(len(drawn)), [literal(f"{row.what}, beside {row.base}") for row in drawn]
        )
        axes.invert_yaxis()
        axes.set_xscale("log")
        axes.set_xlabel("this project's kernels, as a share of the others'")
        figure.legend(loc="outside upper left", ncols=2, frameon=False, labelcolor=INK)
        plain(figure, axes)
        title = "Step time and peak memory with custom kernels beside others"
        text = svg_text(figure, title, "; ".join(map(_said, drawn[:_MOST_SAID])) + ".")
    # matplotlib wrote it and escaped the labels.
    return Markup(text)  # noqa: S704


def _said(row: KernelsRow) -> str:
    """A pair's ratios, for who does not see them."""
    ratios = {"step time": row.time, "peak memory": row.memory}
    words = [f"{name} {found.value:.3g} times" for name, found in ratios.items() if found]
    return f"{shortened(row.what, _LONGEST_SAID)}, beside {row.base}: {', '.join(words)}"


def _reach(found: Sequence[Estimate]) -> list[list[float]]:
    """How far each interval goes to the left and to the right; nowhere without one."""
    return [
        [e.value - e.low if e.low is not None else 0.0 for e in found],
        [e.high - e.value if e.high is not None else 0.0 for e in found],
    ]
