"""Kernels, alone or versus what they replace: medians over rounds in which both took turns."""

__all__ = ["kernel_parts"]

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from alignmeter.terminal.tables import Column, Grid, Paragraph, Part, Row, figure
from alignmeter.text import plain
from alignmeter.units import bytes_text, seconds_text

_COLUMNS = (Column("kernel"), figure("time"), figure("theirs"), figure("ratio"), figure("peak"),
            figure("theirs"), figure("ratio"))  # fmt: skip


def kernel_parts(rows: Sequence[dict[str, Any]]) -> Iterator[Part]:
    """One table. The peak is what one call adds to the bytes allocated before it."""
    parts: list[Row | Paragraph] = []
    last = None
    for row in rows:
        if row["row"] != last:
            last = row["row"]
            parts.append(Paragraph(plain(row["row"]), "bold", hang=2))
        parts += [_row(row), *_notes(row)]
    yield Grid(_COLUMNS, parts, indent=2)


def _row(row: dict[str, Any]) -> Row:
    beside = "alone" if row["baseline"] is None else f"versus {row['baseline']}"
    return Row(
        (
            f"{row['passes']}, {row['path']}, {beside}",
            _text(seconds_text, row.get("ours_s")),
            _text(seconds_text, row.get("theirs_s")),
            _text("{:.2f}x".format, row.get("speedup")),
            _text(bytes_text, row.get("ours_added_bytes")),
            _text(bytes_text, row.get("theirs_added_bytes")),
            _text("{:.1f}x".format, row.get("memory_ratio")),
        )
    )


def _notes(row: dict[str, Any]) -> Iterator[Paragraph]:
    if not row.get("theirs_ended", True):
        yield Paragraph("theirs was ended before the step was done: it takes longer", indent=4)
    if "time_per_token" in row:
        time, memory = row["time_per_token"], row["memory_per_token"]
        yield Paragraph(f"per token: time {time:.2f}x, memory {memory:.2f}x", indent=4)
    if "share_of_copy" in row:
        text = f"{row['bytes_per_s'] / 1e9:.0f} GB/s, {row['share_of_copy']:.0%} of a copy"
        if "share_of_product" in row:
            text += f"; {row['flops_per_s'] / 1e12:.0f} TFLOP/s, "
            text += f"{row['share_of_product']:.0%} of a plain product"
        yield Paragraph(text, indent=4)


def _text(form: Callable[[Any], str], value: Any) -> str:
    return "-" if value is None else form(value)
