"""Power and memory over the steps of a replicate, from the timeline beside its record."""

__all__ = ["PhaseReadings", "TimelineView", "timeline_views"]

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alignmeter.cells.naming import Naming
from alignmeter.errors import InputError
from alignmeter.records.folder import timeline_path
from alignmeter.records.record import VRAM, Record
from alignmeter.records.timeline import Mark, Timeline, decode_timeline
from alignmeter.registry import DELTAS, PEFT_MODES
from alignmeter_reports.drawing.looks import looks
from alignmeter_reports.drawing.scales import BYTES, MEGAHERTZ, WATTS, Quantity
from alignmeter_reports.drawing.svg import INK, LARGEST, plain, settings, svg_text

_MOST = 6
_LARGEST_BYTES = 8 << 20
_SHOWN_STAGES = ("timed", "energy_window")
_LEAST_SAMPLES = 2
_STEPS = 3
"""Steps that are drawn: phases of more would not be told apart."""
Sample = Mapping[str, float | int | str | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Figure:
    """A field of a sample: its name, in which unit it is, what its readings make."""

    field: str
    label: str
    quantity: Quantity
    kind: str
    make: Callable[[list[float]], float]

    def of(self, sample: Sample) -> float | None:
        value = sample.get(self.field)
        return None if value is None else float(value)


_FIGURES = (
    _Figure(
        field="power_w", label="power", quantity=WATTS, kind="mean", make=statistics.fmean
    ),
    _Figure(
        field="memory_process_bytes", label="memory of the process", quantity=BYTES,
        kind="largest", make=max,
    ),
    _Figure(
        field="memory_used_bytes", label="memory of the {whole}", quantity=BYTES,
        kind="largest", make=max,
    ),
    _Figure(
        field="clock_mhz", label="clock", quantity=MEGAHERTZ, kind="mean", make=statistics.fmean
    ),
)  # fmt: skip
_POWER, _MEMORY = "power_w", ("memory_process_bytes", "memory_used_bytes")


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseReadings:
    """A phase over the steps that are drawn: s that it took, and what was read in it.

    ``figures`` are in the order of the view's, with their units; ``None``: there was no reading.
    """

    name: str
    seconds: float
    readings: int
    figures: list[str | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class TimelineView:
    """One replicate. ``figures``: what stands in the columns of the table of ``phases``."""

    name: str
    cell_id: str
    device: str
    replicate: int
    steps: int
    chart: Markup
    figures: list[str]
    phases: list[PhaseReadings]
    samples: int


def timeline_views(
    records: Sequence[Record], paths: Mapping[int, Path]
) -> tuple[list[TimelineView], list[str]]:
    """Of the methods that are compared first, then of others; and a sentence per bad file.

    One for each method, architecture and device: the first replicate, with adapters if there is
    one.

    ``paths``: ``id`` of a record -> its file. A record is passed over without a timeline beside it,
    and where that has neither power nor a device's memory: clocks alone show nothing of a step.
    """
    naming = Naming(record.cell for record in records)
    views: list[TimelineView] = []
    refused: list[str] = []
    seen: set[tuple[str, str, str]] = set()
    for record in sorted(records, key=_telling):
        cell = record.cell
        kind = cell.method, cell.architecture, record.provenance.device
        path = paths.get(id(record))
        if len(views) == _MOST or record.status != "ok" or path is None or kind in seen:
            continue
        try:
            view = _view(record, naming.of(cell), timeline_path(path))
        except InputError as error:
            refused.append(str(error))
            continue
        if view is not None:
            views.append(view)
            seen.add(kind)
    return views, refused


def _telling(record: Record) -> tuple[bool, bool, str, int]:
    cell, peft = record.cell, PEFT_MODES.get(record.cell.peft)
    adapters = peft is not None and peft.adapters
    return cell.method not in DELTAS[0], not adapters, cell.id, record.replicate


def _view(record: Record, name: str, path: Path) -> TimelineView | None:
    if not path.is_file() or path.stat().st_size > _LARGEST_BYTES:
        return None
    timeline = decode_timeline(path.read_bytes(), str(path))
    phases = _phases(timeline)
    if not phases:
        return None
    start, end = phases[0].start_s, max(mark.end_s for mark in phases)
    samples = [s for s in timeline.samples if start <= float(s["time_s"] or 0) <= end]
    if len(samples) < _LEAST_SAMPLES or not 0 <= start < end < LARGEST:
        return None
    figures = [f for f in _FIGURES if any(f.of(sample) is not None for sample in samples)]
    fields = {figure.field for figure in figures}
    on_device = record.memory.kind == VRAM
    if _POWER not in fields and not (on_device and fields.intersection(_MEMORY)):
        return None
    whole = "device" if on_device else "machine"
    labels = [figure.label.format(whole=whole) for figure in figures]
    return TimelineView(
        name=name,
        cell_id=record.cell.id,
        device=record.provenance.device,
        replicate=record.replicate,
        steps=len({mark.step for mark in phases}),
        chart=_chart(name, phases, samples, dict(zip(labels, figures, strict=True))),
        figures=[f"{figure.kind} {label}" for figure, label in zip(figures, labels, strict=True)],
        phases=[
            _readings([mark for mark in phases if mark.phase == name], samples, figures)
            for name in dict.fromkeys(mark.phase for mark in phases)
        ],
        samples=len(samples),
    )


def _phases(timeline: Timeline) -> list[Mark]:
    """Of the last timed steps, or of the window's where steps are too short to be sampled."""
    for stage in _SHOWN_STAGES:
        marks = [mark for mark in timeline.marks if mark.stage == stage and mark.phase]
        steps = sorted({mark.step for mark in marks if mark.step is not None})[-_STEPS:]
        kept = sorted((m for m in marks if m.step in steps), key=lambda mark: mark.start_s)
        if kept and _sampled(timeline, kept) >= _LEAST_SAMPLES:
            return kept
    return []


def _sampled(timeline: Timeline, marks: Sequence[Mark]) -> int:
    start, end = marks[0].start_s, marks[-1].end_s
    return sum(start <= float(sample["time_s"] or 0) <= end for sample in timeline.samples)


def _readings(
    marks: Sequence[Mark], samples: Sequence[Sample], figures: Sequence[_Figure]
) -> PhaseReadings:
    """Of one phase, whose marks these are."""
    within = [
        sample
        for sample in samples
        if any(mark.start_s <= float(sample["time_s"] or 0) < mark.end_s for mark in marks)
    ]
    values = ([v for s in within if (v := figure.of(s)) is not None] for figure in figures)
    return PhaseReadings(
        name=marks[0].phase,
        seconds=sum(mark.end_s - mark.start_s for mark in marks),
        readings=len(within),
        figures=[
            f.quantity.text(f.make(v)) if v else None for f, v in zip(figures, values, strict=True)
        ],
    )


def _chart(
    name: str,
    phases: Sequence[Mark],
    samples: Sequence[Sample],
    figures: Mapping[str, _Figure],
) -> Markup:
    """The figures, each under its label and with its own axes."""
    start = phases[0].start_s
    names = list(dict.fromkeys(mark.phase for mark in phases))
    with settings():
        figure = Figure(figsize=(8.2, 0.8 + 1.4 * len(figures)), layout="constrained")
        grid = figure.subplots(len(figures), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (label, field) in zip(grid, figures.items(), strict=True):
            _shade(axes, phases, names, start)
            points = [(float(s["time_s"] or 0) - start, field.of(s)) for s in samples]
            size, unit = field.quantity.unit(max((v or 0.0 for _, v in points), default=0.0))
            known = [(t, v / size) for t, v in points if v is not None]
            axes.plot([t for t, _ in known], [v for _, v in known], color=INK, marker=".")
            # From zero: a flat line shall look flat.
            axes.set_ylim(0.0, 1.15 * max((v for _, v in known), default=1.0) or 1.0)
            axes.set_title(f"{label}, {unit}", loc="left", fontsize=8, color=INK)
            plain(figure, axes)
        grid[-1].set_xlabel("s")
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside upper left", ncols=6, frameon=False, labelcolor=INK
        )
        text = svg_text(
            figure,
            f"Power and memory over {len({m.step for m in phases})} steps of {name}",
            "Phases in order: " + ", ".join(names),
        )
    # matplotlib wrote it and escaped the labels.
    return Markup(text)  # noqa: S704


def _shade(axes: Axes, phases: Sequence[Mark], names: Sequence[str], start: float) -> None:
    """Each phase as a band, in its colour of every chart; its legend entry comes once."""
    named: set[str] = set()
    shown = looks(names)
    for mark in phases:
        colour = shown[mark.phase].colour
        label = None if mark.phase in named else mark.phase
        axes.axvspan(
            mark.start_s - start, mark.end_s - start, color=colour, alpha=0.3, lw=0, label=label
        )
        named.add(mark.phase)
