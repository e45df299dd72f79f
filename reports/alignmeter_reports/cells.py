"""One row per cell for the page: replicates put together, every gap with its reason."""

__all__ = ["CellRow", "Column", "Why", "anchors", "cell_rows", "latest", "layout", "titles"]

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from alignmeter.analysis.cost import devices_of
from alignmeter.analysis.footprint import prediction_error_percent
from alignmeter.analysis.intervals import Estimate, estimate
from alignmeter.analysis.likeness import Group
from alignmeter.cells.cell import Cell
from alignmeter.cells.labels import layout_text
from alignmeter.cells.naming import Naming
from alignmeter.records.record import Provenance, Reason, Record
from alignmeter_reports.sections.command import command_of

_LONGEST_ANCHOR = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """Of a table of cells. ``key``: its name in the page's styles. ``more``: a reader asks for it
    in the chooser.
    """

    key: str
    head: str
    more: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Why:
    """A reason code, its text in the first replicate that has it, and how many have it."""

    code: str
    text: str
    replicates: int

    @property
    def sentence(self) -> str:
        """The text, with the number of replicates from two on."""
        return self.text + (f" ({self.replicates} replicates)" if self.replicates > 1 else "")

    def __str__(self) -> str:
        """With the code in front."""
        return f"{self.code}: {self.sentence}"


@dataclass(frozen=True, kw_only=True, slots=True)
class CellRow:
    """What the page says of one cell on one machine. Missing figures are ``None``.

    ``anchor``: the row's id in the page. ``name``: of the cell, which no other one here has; rows
    of one cell on several devices share it (`titles`). ``statuses`` counts replicates by status;
    ``failed`` maps one other than ok to its reasons, ``invalid`` a metric to those that made it so.
    ``heaviest`` is the replicate with the largest peak; ``plan_error_percent`` says how far the
    plan's peak is above that one. ``command`` repeats the cell. ``place`` and ``started`` are those
    of the newest replicate. ``devices``: that a step takes.
    """

    anchor: str
    name: str
    cell: Cell
    device: str
    place: Provenance
    started: str
    command: str | None
    statuses: dict[str, int]
    time_s: Estimate | None
    peak_bytes: int | None
    reserved_bytes: int | None
    heaviest: Record | None
    predicted_peak_bytes: int | None
    plan_error_percent: float | None
    memory_kind: str
    trained_per_s: float | None
    generated_per_s: float | None
    mfu: float | None
    bound_share: float | None
    energy_j: float | None
    energy_reason: str
    agrees: str
    failed: dict[str, list[Why]]
    invalid: dict[str, list[Why]]
    phases_s: dict[str, float]
    devices: int

    @property
    def where(self) -> str:
        """The device; the kind of one, where no replicate has told its name."""
        return self.device or self.cell.accelerator

    @property
    def tokens(self) -> float | None:
        """Trained tokens of a step."""
        if self.time_s is None or self.trained_per_s is None:
            return None
        return self.time_s.value * self.trained_per_s

    @property
    def energy_per_1000_tokens_j(self) -> float | None:
        """Energy per 1000 trained tokens."""
        if self.energy_j is None or not self.tokens:
            return None
        return 1000 * self.energy_j / self.tokens


def layout(cell: Cell) -> str:
    """`layout_text` for a table: a dash where the method has no layouts."""
    return layout_text(cell) or "-"


def cell_rows(groups: Iterable[Group]) -> list[CellRow]:
    """A row per group, in their order, named apart from each other."""
    listed = list(groups)
    names = Naming(group.cell for group in listed)
    seen: Counter[str] = Counter()
    return [_cell_row(g, _anchor(g.cell.id, seen), names.of(g.cell)) for g in listed]


def titles(rows: Iterable[CellRow]) -> dict[str, str]:
    """Anchor -> the cell's name, with its device where these rows have several."""
    listed = list(rows)
    several = len({row.where for row in listed}) > 1
    return {row.anchor: f"{row.name}, {row.where}" if several else row.name for row in listed}


def latest(rows: Sequence[CellRow], most: int) -> list[CellRow]:
    """The ``most`` rows that were measured last, in their order."""
    if len(rows) <= most:
        return list(rows)
    kept = {row.anchor for row in sorted(rows, key=lambda row: row.started)[-most:]}
    return [row for row in rows if row.anchor in kept]


def anchors(rows: Iterable[CellRow]) -> dict[tuple[str, str], str]:
    """(Cell id, device) -> the id of its first row in the page; the device by its name alone too,
    for those who know no setting.
    """
    first: dict[tuple[str, str], str] = {}
    for row in rows:
        first.setdefault((row.cell.id, row.device), row.anchor)
        first.setdefault((row.cell.id, row.place.device), row.anchor)
    return first


def _anchor(cell_id: str, seen: Counter[str]) -> str:
    """Stable, so that a link to it stays good; a cell's second machine gets a number."""
    name = "cell-" + re.sub(r"[^A-Za-z0-9.-]", "_", cell_id[:_LONGEST_ANCHOR])
    seen[name] += 1
    return name if seen[name] == 1 else f"{name}_{seen[name]}"


def _cell_row(alike: Group, anchor: str, name: str) -> CellRow:
    group = alike.records
    good = [record for record in group if record.status == "ok"]
    last = max(group, key=lambda record: record.provenance.started)
    heaviest = _heaviest(good)
    times = _positive([r.timing.median_s for r in good])
    reserved = [r.memory.reserved_peak_bytes for r in good if r.memory.reserved_peak_bytes]
    return CellRow(
        anchor=anchor,
        name=name,
        cell=last.cell,
        device=alike.where,
        place=last.provenance,
        started=last.provenance.started,
        command=command_of((good or group)[0]),
        statuses=dict(Counter(record.status for record in group)),
        time_s=estimate(times) if times else None,
        peak_bytes=heaviest.memory.allocated_peak_bytes if heaviest else None,
        reserved_bytes=max(reserved, default=None),
        heaviest=heaviest,
        predicted_peak_bytes=(heaviest or last).memory.predicted_peak_bytes,
        plan_error_percent=prediction_error_percent(heaviest.memory) if heaviest else None,
        memory_kind=last.memory.kind,
        trained_per_s=_mean([r.throughput.trained_tokens_per_s for r in good]),
        generated_per_s=_mean([r.throughput.generated_tokens_per_s for r in good]),
        mfu=_mean([r.throughput.mfu for r in good]),
        bound_share=_mean([r.throughput.bound_share for r in good]),
        energy_j=_mean([r.energy.per_step_j for r in good]),
        energy_reason=last.energy.reason.text if last.energy.reason else "",
        agrees=_agreement(good),
        failed=_whys(_failures(group)),
        invalid=_whys(_invalidities(good)),
        phases_s=_phases(good),
        devices=max(map(devices_of, group)),
    )


def _heaviest(good: Sequence[Record]) -> Record | None:
    measured = [record for record in good if (record.memory.allocated_peak_bytes or 0) > 0]
    return max(measured, key=lambda r: r.memory.allocated_peak_bytes or 0, default=None)


def _positive(values: Sequence[float | None]) -> list[float]:
    # Records are untrusted: a time or rate that is not above zero is none, and has no logarithm.
    return [value for value in values if value is not None and 0 < value < math.inf]


def _mean(values: Sequence[float | None]) -> float | None:
    positive = _positive(values)
    return estimate(positive).value if positive else None


def _agreement(good: Sequence[Record]) -> str:
    agree = {record.numerics.agrees for record in good}
    if False in agree:
        return "no"
    return "yes" if agree == {True} else "unchecked"


def _failures(group: Sequence[Record]) -> Iterator[tuple[str, Reason]]:
    """Status and reason of each replicate that has no measurement."""
    for record in group:
        if record.status != "ok" and record.reason is not None:
            yield record.status, record.reason


def _invalidities(good: Sequence[Record]) -> Iterator[tuple[str, Reason]]:
    """Metric and reason of each verdict that is not ok; an energy has those of its time, too."""
    for record in good:
        for metric, verdict in record.validity.items():
            for reason in verdict.reasons:
                yield metric, reason
        time = record.validity.get("time")
        if time is not None and record.energy.per_step_j is not None:
            for reason in time.reasons:
                yield "energy", reason


def _whys(reasons: Iterable[tuple[str, Reason]]) -> dict[str, list[Why]]:
    """What they are about -> one `Why` per code."""
    texts: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for about, reason in reasons:
        texts[about][reason.code].append(reason.text)
    return {
        about: [
            Why(code=code, text=mine[0], replicates=len(mine)) for code, mine in by_code.items()
        ]
        for about, by_code in texts.items()
    }


def _phases(good: Sequence[Record]) -> dict[str, float]:
    names = dict.fromkeys(name for record in good for name in record.phases)
    means = {
        name: _mean([r.phases[name].median_s for r in good if name in r.phases]) for name in names
    }
    return {name: mean for name, mean in means.items() if mean is not None}
