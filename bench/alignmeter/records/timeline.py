"""The timeline beside a record: what the sampler read, with stages and phases marked.

One gzipped CSV with three kinds of rows, `KINDS`. ``time_s`` is relative to the start of the
replicate; a stage and a phase also have ``end_s``. A figure that was missing is an empty field.
"""

__all__ = [
    "FIELDS",
    "FIGURE_FIELDS",
    "KINDS",
    "Mark",
    "Timeline",
    "decode_timeline",
    "encode_timeline",
]

import csv
import gzip
import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from alignmeter.errors import InputError

KINDS = ("stage", "phase", "sample")
FIGURE_FIELDS = (
    "device_s",
    "energy_j",
    "power_w",
    "memory_used_bytes",
    "memory_process_bytes",
    "clock_mhz",
    "memory_clock_mhz",
    "temperature_c",
    "ecc_errors",
)
FIELDS = ("kind", "time_s", "end_s", "stage", "step", "phase", *FIGURE_FIELDS, "throttles")


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """A stage (``build``, ``agreement``, ``warmup``, ``memory_step``, ``settling``, ``timed``, …),
    or a phase of one step within it. ``step`` counts within the stage.
    """

    stage: str
    start_s: float
    end_s: float
    step: int | None = None
    phase: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """``samples``: ``time_s``, the figures of `FIGURE_FIELDS`, ``throttles`` (words by space)."""

    marks: Sequence[Mark] = ()
    samples: Sequence[Mapping[str, float | int | str | None]] = field(default_factory=list)


def encode_timeline(timeline: Timeline) -> bytes:
    """The gzipped CSV; equal timelines give equal bytes."""
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, restval="", lineterminator="\n")
    writer.writeheader()
    for mark in timeline.marks:
        writer.writerow(
            {
                "kind": "phase" if mark.phase else "stage",
                "time_s": f"{mark.start_s:.6f}",
                "end_s": f"{mark.end_s:.6f}",
                "stage": mark.stage,
                "step": "" if mark.step is None else mark.step,
                "phase": mark.phase,
            }
        )
    for sample in timeline.samples:
        row = {name: "" if value is None else value for name, value in sample.items()}
        writer.writerow({"kind": "sample", **row, "time_s": f"{sample['time_s']:.6f}"})
    return gzip.compress(text.getvalue().encode(), mtime=0)


def decode_timeline(data: bytes, where: str) -> Timeline:
    """Read it back. Raises `InputError` that names ``where`` and the line."""
    try:
        lines = gzip.decompress(data).decode().splitlines()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"{where}: not a gzipped CSV: {error}") from error
    reader = csv.DictReader(lines)
    if tuple(reader.fieldnames or ()) != FIELDS:
        raise InputError(f"{where}: not a timeline; its first line should be {','.join(FIELDS)}")
    marks: list[Mark] = []
    samples: list[dict[str, float | int | str | None]] = []
    for row in reader:
        try:
            if row["kind"] == "sample":
                samples.append(_sample(row))
            else:
                marks.append(_mark(row))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{where}, line {reader.line_num}: {error}") from error
    return Timeline(marks=marks, samples=samples)


def _mark(row: Mapping[str, str]) -> Mark:
    if row["kind"] not in KINDS:
        raise ValueError(f"kind is {row['kind']!r}; it should be one of {', '.join(KINDS)}")
    return Mark(
        stage=row["stage"],
        start_s=float(row["time_s"]),
        end_s=float(row["end_s"]),
        step=int(row["step"]) if row["step"] else None,
        phase=row["phase"],
    )


def _sample(row: Mapping[str, str]) -> dict[str, float | int | str | None]:
    found: dict[str, float | int | str | None] = {"time_s": float(row["time_s"])}
    for name in FIGURE_FIELDS:
        whole = name.endswith(("_bytes", "_errors"))
        found[name] = None if not row[name] else int(row[name]) if whole else float(row[name])
    return found | {"throttles": row["throttles"]}
