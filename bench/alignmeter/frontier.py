"""The frontier: the largest batch and the longest sequence that ran within a limit of memory.

A checked and versioned type, as records are, so that a report can read it without torch.
"""

__all__ = [
    "SCHEMA_VERSION",
    "STEPS",
    "Frontier",
    "FrontierPoint",
    "FrontierTry",
    "SearchedAxis",
    "Searches",
    "TryStatus",
    "decode_frontier",
    "encode_frontier",
    "frontier_lines",
    "merged",
    "plan_error_percent",
    "read_memory_limit",
    "search_key",
    "search_name",
    "shape",
    "summary",
]

import re
import statistics
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from alignmeter.cell import Cell
from alignmeter.errors import InputError
from alignmeter.record import Provenance
from alignmeter.units import GIB, KIB, MIB, bytes_text
from alignmeter.versioned import decode_versioned, encode_document

SCHEMA_VERSION = 1
SearchedAxis = Literal["batch", "seq_len"]
TryStatus = Literal["ok", "oom", "over_limit", "timeout", "crashed", "unsupported"]
STEPS: Mapping[SearchedAxis, int] = {"batch": 1, "seq_len": 64}
"""Axis -> its values are searched in multiples of this."""
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_UNITS = {"KiB": KIB, "MiB": MIB, "GiB": GIB}
_COLUMNS = "{:<30} {:>9} {:>8} {:>8} {:>10} {:>5}"
_WIDTH = 78
_GLUE = "\N{NO-BREAK SPACE}"
_LIMIT = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(KiB|MiB|GiB)")


class FrontierTry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One value that was tried, in a worker process of its own.

    ``oom``: an allocation failed. ``over_limit``: it ran and needed more than the limit.
    ``peak_bytes``: the allocator's peak over one step. ``used_bytes``: what counts against the
    limit, on a CPU the same, on an accelerator what the device had in use. ``predicted_bytes``: the
    plan's peak, where the plan was asked. ``seconds``: how long the try took. ``text``: why it did
    not run.
    """

    value: Count
    status: TryStatus
    peak_bytes: Count | None = None
    used_bytes: Count | None = None
    predicted_bytes: Count | None = None
    seconds: float
    text: str | None = None


class FrontierPoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One search: ``cell`` with its ``axis`` made as large as runs, all else equal.

    Values are multiples of ``step``. ``limit_given``: the limit is a user's, not the device's
    memory. ``planned``: what the plan said would fit, 0 for nothing; ``None`` without a plan, for
    which ``plan_text`` has the reason. ``largest``: the largest value that ran within the limit,
    with its ``peak_bytes``; ``refused``: the smallest that did not. ``reason``: why there is no
    largest value, or what else than memory ended the search.
    """

    cell: Cell
    axis: SearchedAxis
    step: Annotated[int, msgspec.Meta(ge=1, le=2**20)]
    memory_kind: str
    limit_bytes: Count | None
    limit_given: bool
    planned: Count | None = None
    plan_text: str | None = None
    largest: Count | None = None
    peak_bytes: Count | None = None
    refused: Count | None = None
    reason: str | None = None
    tries: list[FrontierTry] = []
    provenance: Provenance | None = None

    def __post_init__(self) -> None:
        """Hold the summary against the tries. Raises `ValueError` where they contradict."""
        ran = {t.value: t.peak_bytes for t in self.tries if t.status == "ok"}
        largest = max(ran, default=None)
        if self.largest != largest:
            raise ValueError(f"largest is {self.largest}, but the tries say {largest}")
        if self.peak_bytes != (None if largest is None else ran[largest]):
            raise ValueError(f"peak_bytes is not that of the try of {largest}")
        refused = min((t.value for t in self.tries if t.status != "ok"), default=None)
        if self.refused != refused:
            raise ValueError(f"refused is {self.refused}, but the tries say {refused}")


class Frontier(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All searches of a folder, and the version of alignmeter that made them."""

    schema_version: int
    alignmeter: str
    points: list[FrontierPoint]


@dataclass(kw_only=True, slots=True)
class Searches:
    """What one run of searches holds. ``limit_bytes``: as it was given. ``refused``: sentences on
    searches that could not begin.
    """

    folder: Path
    limit_bytes: int | None = None
    points: list[FrontierPoint] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)


_DECODER = msgspec.json.Decoder(Frontier)


def encode_frontier(frontier: Frontier) -> bytes:
    """Strict JSON, indented for people, with a newline at the end."""
    return encode_document(frontier)


def decode_frontier(data: bytes, where: str) -> Frontier:
    """Parse and check one file. Raises `InputError` that names ``where`` and the wrong field."""
    return decode_versioned(data, _DECODER, SCHEMA_VERSION, where, "a frontier of bench_frontier")


def search_key(cell: Cell, axis: SearchedAxis) -> tuple[object, ...]:
    """Equal for two cells whose searches along ``axis`` are the same: they differ in it alone."""
    axes = cell.axes()
    del axes[axis]
    if axis == "seq_len":
        half = cell.prompt_len == cell.seq_len // 2
        axes["prompt_len"] = "half" if half else cell.seq_len - cell.prompt_len
    return axis, *axes.items(), cell.data_digest, cell.model_digest


def merged(points: Sequence[FrontierPoint], new: FrontierPoint) -> list[FrontierPoint]:
    """``points`` with ``new`` in place of an earlier search of the same for the same limit."""
    key = search_key(new.cell, new.axis), new.limit_bytes, new.limit_given
    kept = [p for p in points if (search_key(p.cell, p.axis), p.limit_bytes, p.limit_given) != key]
    return [*kept, new]


def search_name(point: FrontierPoint) -> str:
    """The cell's id without its digest and without the slug of the axis that was searched."""
    axes = "-".join(point.cell.id.split("-")[:-1])
    letters = "b" if point.axis == "batch" else "tp"
    return re.sub(rf"-[{letters}]\d+(?=-|$)", "", axes)


def shape(point: FrontierPoint) -> tuple[int, int] | None:
    """Tokens per sequence and pairs per step at the largest value; ``None`` if nothing ran."""
    if point.largest is None:
        return None
    if point.axis == "batch":
        return point.cell.seq_len, point.largest
    return point.largest, point.cell.batch


def plan_error_percent(point: FrontierPoint) -> float | None:
    """How far the planned value is above the measured one, in per cent of the measured."""
    if point.planned is None or not point.largest:
        return None
    return 100 * (point.planned - point.largest) / point.largest


def summary(points: Sequence[FrontierPoint]) -> str:
    """One line: how many tries the searches took, and how far off the plans were."""
    tries = [len(point.tries) for point in points if point.tries]
    if not tries:
        return "nothing was searched"
    parts = [f"{_count(len(tries), 'search', 'searches')}, {_range(tries)} each"]
    errors = [e for e in map(plan_error_percent, points) if e is not None]
    off = sorted(error for error in errors if error)
    if errors:
        parts.append(f"the plan was exact in {len(errors) - len(off)} of {len(errors)}")
    text = ", ".join(parts)
    if off:
        text += f" and else off by {off[0]:+.1f} %"
        text = text if off[0] == off[-1] else f"{text[:-2]} to {off[-1]:+.1f} %"
    return text


def _range(tries: Sequence[int]) -> str:
    least, most = min(tries), max(tries)
    if least == most:
        return _count(most, "try", "tries")
    return f"{least} to {most} tries (median {statistics.median(tries):g})"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def frontier_lines(points: Sequence[FrontierPoint]) -> Iterator[str]:
    """The table for the terminal, in lines of at most 79 columns, and one that sums it up."""
    yield _COLUMNS.format("", "limit", "planned", "largest", "its peak", "tries")
    last = None
    for point in sorted(points, key=lambda p: (search_name(p), p.axis, p.cell.id)):
        if search_name(point) != last:
            last = search_name(point)
            yield last
        yield _line(point)
        if point.reason is not None:
            yield from textwrap.wrap(
                point.reason, _WIDTH, initial_indent="    ", subsequent_indent="    "
            )
    yield ""
    for line in textwrap.wrap(summary(points).replace(" %", f"{_GLUE}%"), _WIDTH):
        yield line.replace(_GLUE, " ")


def _line(point: FrontierPoint) -> str:
    held = f"T {point.cell.seq_len}" if point.axis == "batch" else f"B {point.cell.batch}"
    return _COLUMNS.format(
        f"  largest {point.axis.replace('_', ' ')} at {held}",
        "-" if point.limit_bytes is None else bytes_text(point.limit_bytes),
        "-" if point.planned is None else point.planned,
        "none" if point.largest is None else point.largest,
        "-" if point.peak_bytes is None else bytes_text(point.peak_bytes),
        len(point.tries),
    )


def read_memory_limit(text: str) -> int:
    """``512MiB`` or ``1.5GiB`` in bytes. Raises `InputError` for anything else."""
    match = _LIMIT.fullmatch(text.strip())
    count = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    if count < MIB:
        raise InputError(
            f"--memory-limit: {text!r} is not an amount of memory; give at least 1MiB, as a number "
            "with KiB, MiB or GiB, e.g. 512MiB"
        )
    return count
