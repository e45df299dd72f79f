"""What recipes cost as a whole, a table per device."""

__all__ = ["bill_parts"]

from collections import defaultdict
from collections.abc import Iterator, Sequence

from alignmeter.analysis.bill import STEPS, Bill, Stage, recipe_text
from alignmeter.analysis.intervals import Estimate
from alignmeter.analysis.words import memory_text, percent_text
from alignmeter.cells.labels import layout_text, spelled
from alignmeter.terminal.tables import Column, Grid, Paragraph, Part, Row, figure, label
from alignmeter.text import plain
from alignmeter.units import bytes_text

_HOUR_S = 3600
_KWH_J = 3.6e6


def bill_parts(bills: Sequence[Bill]) -> Iterator[Part]:
    """A table for each device and kind of memory."""
    tables: dict[tuple[str, str], list[Bill]] = defaultdict(list)
    for bill in bills:
        tables[bill.device, bill.largest.kind].append(bill)
    for (device, kind), rows in sorted(tables.items()):
        yield Paragraph("")
        yield Paragraph(
            "The whole bill: from a base model to an aligned one "
            f"({memory_text(kind)}, {plain(device)})",
            "bold",
            hang=2,
        )
        yield _table(rows)
        yield Paragraph(
            f"peak: of the stage that needs most; time, energy: of {STEPS} steps of every stage; "
            "models: resident at most, in that stage.",
            hang=2,
        )


def _table(bills: Sequence[Bill]) -> Grid:
    columns = (
        Column("recipe"), Column("architecture"), label("peft"), Column("layout"),
        figure("peak"), Column("stage"), figure("models"), figure("time"), figure("energy"),
    )  # fmt: skip
    return Grid(columns, [_row(bill) for bill in bills])


def _row(bill: Bill) -> Row:
    cell, largest = bill.stages[-1].group.cell, bill.largest
    return Row(
        (
            recipe_text(bill.recipe),
            cell.architecture,
            cell.peft,
            _layout(bill.stages),
            bytes_text(largest.peak_bytes),
            spelled("method", largest.method),
            str(len(largest.models)),
            _time(bill.time),
            "-" if bill.energy is None else f"{bill.energy.value / _KWH_J:.3g} kWh",
        )
    )


def _layout(stages: Sequence[Stage]) -> str:
    return ", ".join(filter(None, (layout_text(stage.group.cell) for stage in stages)))


def _time(found: Estimate | None) -> str:
    """In hours, of which a bill is made, with its half interval."""
    if found is None:
        return "-"
    hours = f"{found.value / _HOUR_S:.3g} h"
    if found.low is None or found.high is None:
        return hours
    half = max(found.value - found.low, found.high - found.value)
    return f"{hours} ± {percent_text(100 * half / found.value)} %"
