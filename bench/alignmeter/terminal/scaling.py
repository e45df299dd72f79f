"""Exponents over sequence length, and from where on one architecture is cheaper than another."""

__all__ = ["scaling_parts"]

from collections.abc import Iterator, Sequence

from alignmeter.analysis.likeness import Group
from alignmeter.analysis.scaling import (
    STEP_MEMORY,
    STEP_TIME,
    Fit,
    Ladder,
    crossings,
    exponent_text,
    fits,
    ladders,
)
from alignmeter.records.record import Record
from alignmeter.terminal.tables import Column, Grid, Paragraph, Part, Row, figure, label

_MIXERS = ("attention", "scan")
_COLUMNS = (
    label("step"), label("model"), figure("T"), figure("time"), Column("its mixer", right=True),
    figure("its rest"), figure("peak memory"),
)  # fmt: skip


def scaling_parts(records: Sequence[Record], cells: Sequence[Group]) -> Iterator[Part]:
    """A table per device and settings; nothing where no cell was measured at three lengths.

    ``cells``: the records by cell.
    """
    all_ladders = ladders(records, cells)
    for head in dict.fromkeys((ladder.device, ladder.settings) for ladder in all_ladders):
        mine = [ladder for ladder in all_ladders if (ladder.device, ladder.settings) == head]
        yield Paragraph("")
        yield Paragraph(
            "Exponents k of T, the tokens per sequence: cost grows as T^k", "bold", hang=2
        )
        yield Paragraph(f"({', '.join(head)})", hang=1)
        yield Grid(_COLUMNS, [_row(ladder) for ladder in mine])
        for crossing in crossings(mine):
            cell, star = crossing.other.cell, "*" if crossing.invalid else ""
            what = f"{cell.method}: {cell.architecture} is cheaper in {crossing.metric}"
            yield Paragraph(f"{what}: {crossing.text}{star}", hang=2)
    if any(codes for ladder in all_ladders for codes in ladder.invalid.values()):
        yield Paragraph("*: some of these figures are invalid; the report says why.")


def _row(ladder: Ladder) -> Row | Paragraph:
    cell = ladder.cell
    by_quantity = {fit.quantity: fit for fit in fits(ladder)}
    if not by_quantity:
        return Paragraph(f"{cell.method} {cell.architecture}: no replicate has all lengths", hang=2)
    operators = {q.name: fit for q, fit in by_quantity.items() if q.part == "operators"}
    mixers = (f"{name} {_exponent(operators[name])}" for name in _MIXERS if name in operators)
    lengths = next(iter(by_quantity.values())).lengths
    time, memory = ("*" if ladder.invalid[metric] else "" for metric in ("time", "memory"))
    return Row(
        (
            cell.method,
            cell.architecture,
            f"{lengths[0]}-{lengths[-1]}",
            _exponent(by_quantity.get(STEP_TIME)) + time,
            next(mixers, "-"),
            _exponent(operators.get("rest")),
            _exponent(by_quantity.get(STEP_MEMORY)) + memory,
        )
    )


def _exponent(fit: Fit | None) -> str:
    return "-" if fit is None else exponent_text(fit.exponent)
