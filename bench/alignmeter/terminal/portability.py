"""Kernels compiled for chips that are not here: what each needs there."""

__all__ = ["portability_parts"]

from collections.abc import Iterator, Sequence

from alignmeter.records.portability import Portability, PortabilityRow, failures, summary
from alignmeter.terminal.tables import Column, Grid, Paragraph, Part, Row, figure, label
from alignmeter.text import plain
from alignmeter.units import bytes_text

_DASH = "\N{EN DASH}"
_COLUMNS = (label("chip"), figure("warps"), figure("registers"), figure("spills"), figure("shared"),
            figure("resident"), Column("matrix"))  # fmt: skip


def portability_parts(table: Portability) -> Iterator[Part]:
    """The rows of each function below its name, then a sentence on all of them."""
    titles: dict[str, list[PortabilityRow]] = {}
    for row in table.rows:
        title = plain(f"{row.kernel}: {row.function}, {row.dtype}, {row.case}")
        titles.setdefault(title, []).append(row)
    blocks = (_block(title, rows) for title, rows in titles.items())
    yield Grid(_COLUMNS, [part for block in blocks for part in block])
    yield Paragraph(summary(table), "red" if failures(table) else "green", hang=2)
    yield Paragraph(plain(f"Compiled by Triton {table.triton} without a GPU; nothing was run."))


def _block(title: str, rows: Sequence[PortabilityRow]) -> Iterator[Row | Paragraph]:
    yield Paragraph(title, "bold", hang=2)
    for row in rows:
        yield _row(row)
    yield Paragraph("")


def _row(row: PortabilityRow) -> Row:
    if row.error is not None:
        gaps = [_DASH] * (len(_COLUMNS) - 2)
        return Row((plain(row.chip), *gaps, Paragraph("fails, see below", "red")))
    matrix = row.matrix or ("none" if row.wants_matrix else _DASH)
    return Row(
        (
            plain(row.chip),
            _figure(row.warps),
            _figure(row.registers),
            Paragraph(_figure(row.spills), "" if row.spills == 0 else "red"),
            _DASH if row.shared_bytes is None else bytes_text(row.shared_bytes),
            _DASH if row.occupancy is None else f"{row.occupancy} {row.occupancy_unit}",
            Paragraph(plain(matrix), "red" if matrix == "none" else ""),
        )
    )


def _figure(count: int | None) -> str:
    return _DASH if count is None else str(count)
