"""What chips could do at most, from ``chips.toml``: the denominators of utilisation.

``python -m alignmeter.analysis.chips`` prints the table as Markdown, which is docs/peaks.md.
"""

__all__ = ["Peak", "chip_of", "chips_named", "peak", "peaks", "peaks_markdown"]

import datetime
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Literal

import msgspec

from alignmeter.errors import InputError, known
from alignmeter.text import shortened

_SAME_MEMORY = 0.1
"""Drivers keep some memory to themselves (up to 2 %); a slice or a stack has half or less."""
_SAME_POWER = 1.5
"""Boards of one chip are sold with caps of up to 1.33 TDP; a cap can be lowered at will."""
_DIES = 2
"""A die is told the cap of its module, which has two of them in every row."""
_WHOLE = ("SPX", "NPS")
"""AMD's compute mode for one device, or a memory mode alone: the chip knows no compute modes."""


class Peak(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One chip, or the part of it that ``unit`` names. ``None``: no source, or no FP8.

    ``arch``: what kernels are compiled for there. ``link``: key of `analysis.links.links`, what up
    to ``linked`` of them in a box have between them; ``None``: unknown, or sold in several ways.

    FLOP/s are dense, with FP32 accumulation. ``names``: regular expressions for whole device names.
    ``via``: what was read in place of ``source``; ``second``: where single figures come from.
    """

    vendor: str
    names: tuple[str, ...]
    unit: Literal["package", "die", "board", "module"]
    arch: str | None = None
    source: str
    read: datetime.date
    note: str
    form_factor: str | None = None
    memory_bytes: int | None = None
    bandwidth_bytes_per_s: int | None = None
    bf16_flops_per_s: int | None = None
    fp8_flops_per_s: int | None = None
    tdp_w: float | None = None
    link: str | None = None
    linked: int = 1
    document_date: datetime.date | None = None
    via: str | None = None
    second: tuple[str, ...] = ()


@cache
def peaks() -> Mapping[str, Peak]:
    """Chip -> its row, in the file's order."""
    text = (resources.files("alignmeter.analysis") / "chips.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, Peak])


def peak(chip: str) -> Peak:
    """The row of a chip. Raises `InputError` with the known ones."""
    rows = peaks()
    if chip not in rows:
        raise _unknown(chip)
    return rows[chip]


def _unknown(chip: str) -> InputError:
    return InputError(f"{shortened(chip, 60)!r} is not a known chip; {known(peaks(), chip)}")


def chips_named(text: str) -> tuple[str, ...]:
    """The chip of that name, else all whose names begin so: ``H100`` is three of them.

    Upper and lower case are alike. Raises `InputError` if there is none, with the nearest.
    """
    wanted = text.casefold()
    names = {name.casefold(): name for name in peaks()}
    if wanted in names:
        return (names[wanted],)
    found = tuple(name for folded, name in names.items() if folded.startswith(wanted))
    if not found or not wanted:
        raise _unknown(text)
    return found


def chip_of(
    device_name: str,
    form_factor: str | None = None,
    power_cap_w: float | None = None,
    memory_bytes: int | None = None,
    partition: str | None = None,
) -> str | None:
    """The one chip that is called ``device_name`` and that nothing else known here contradicts.

    The others are as in `alignmeter.telemetry.base.Identity`. ``None`` for unknown hardware, for a
    part of a chip (a MIG slice, an AMD partition) and where several rows are left: a guessed peak
    is worse than none.
    """
    if partition and not partition.startswith(_WHOLE):
        return None
    found = [
        chip
        for chip, row in peaks().items()
        if any(re.fullmatch(name, device_name) for name in row.names)
        and (None in (form_factor, row.form_factor) or form_factor == row.form_factor)
        and _fits(memory_bytes, row.memory_bytes, 1 - _SAME_MEMORY, 1 + _SAME_MEMORY)
        and _fits(power_cap_w, row.tdp_w, 0.0, _SAME_POWER * (_DIES if row.unit == "die" else 1))
    ]
    return found[0] if len(found) == 1 else None


def _fits(value: float | None, stated: float | None, least: float, most: float) -> bool:
    if value is None or stated is None:
        return True
    return least * stated <= value <= most * stated


def peaks_markdown() -> str:
    """The table and its sources, as docs/peaks.md has them."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield from (
        "# Peaks",
        "",
        "Utilisation (MFU, MBU) is held against these figures. They are the vendors' own, dense",
        "and with FP32 accumulation; what no source was found for is left out. A device whose name",
        "is not here, or a part of a chip such as a MIG slice, has no peak and so no MFU.",
        "",
        "What a link carries is in [links.md](links.md).",
        "",
        "Generated from `bench/alignmeter/analysis/chips.toml` by",
        "`python -m alignmeter.analysis.chips`.",
        "",
        "| chip | is a | memory, GiB | bandwidth, TB/s | BF16, TFLOP/s | FP8, TFLOP/s | TDP, W "
        "| link |",
        "|---|---|---:|---:|---:|---:|---:|---|",
    )
    for chip, row in peaks().items():
        figures = (
            _figure(row.memory_bytes, 2**30),
            _figure(row.bandwidth_bytes_per_s, 1e12),
            _figure(row.bf16_flops_per_s, 1e12),
            _figure(row.fp8_flops_per_s, 1e12),
            _figure(row.tdp_w, 1),
        )
        link = f"{row.link}, {row.linked} a box" if row.link else "—"
        yield f"| {chip} | {row.unit} | " + " | ".join((*figures, link)) + " |"
    yield from ("", "## Sources", "")
    for chip, row in peaks().items():
        dated = "" if row.document_date is None else f" of {row.document_date}"
        via = "" if row.via is None else f"; what was read: {row.via}"
        yield f"- **{chip}** ({', '.join(f'`{name}`' for name in row.names)}). {row.note}"
        yield f"  Source: {row.source}{dated}, read on {row.read}{via}."
        yield from (f"  {text[0].upper()}{text[1:]}." for text in row.second)


def _figure(value: float | None, unit: float) -> str:
    """At most five digits; ``—`` for what is unknown or not there."""
    return "—" if value is None else f"{value / unit:.5g}"


if __name__ == "__main__":
    sys.stdout.write(peaks_markdown())
