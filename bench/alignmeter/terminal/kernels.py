"""Kernels beside what they replace, in the terminal."""

__all__ = ["comparison_lines"]

from collections.abc import Callable, Sequence
from typing import Any

from alignmeter.units import bytes_text, seconds_text

_FORMAT = "{:<33} {:>7} {:>7} {:>6} {:>8} {:>8} {:>5}"


def comparison_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The table for the terminal: medians over rounds in which both sides took turns.

    The peak is what one call adds to the bytes allocated before it.
    """
    head = _FORMAT.format("", "time", "theirs", "ratio", "peak", "theirs", "ratio")
    lines, last = [head], None
    for row in rows:
        if row["row"] != last:
            lines.append(row["row"])
            last = row["row"]
        lines.append(_line(row))
    return lines


def _line(row: dict[str, Any]) -> str:
    line = _FORMAT.format(
        f"  {row['passes']}, {row['path']}, beside {row['baseline']}",
        _text(seconds_text, row.get("ours_s")),
        _text(seconds_text, row.get("theirs_s")),
        _text("{:.2f}x".format, row.get("speedup")),
        _text(bytes_text, row.get("ours_added_bytes")),
        _text(bytes_text, row.get("theirs_added_bytes")),
        _text("{:.1f}x".format, row.get("memory_ratio")),
    )
    if not row.get("theirs_ended", True):
        line += "\n    theirs was ended before the step was done: it takes longer"
    if "time_per_token" in row:
        line += f"\n    per token: time {row['time_per_token']:.2f}x,"
        line += f" memory {row['memory_per_token']:.2f}x"
    if "share_of_copy" in row:
        line += f"\n    {row['bytes_per_s'] / 1e9:.0f} GB/s, {row['share_of_copy']:.0%} of a copy"
    if "share_of_product" in row:
        line += f"; {row['flops_per_s'] / 1e12:.0f} TFLOP/s, {row['share_of_product']:.0%} of a"
        line += " plain product"
    return line


def _text(form: Callable[[Any], str], value: Any) -> str:
    return "-" if value is None else form(value)
