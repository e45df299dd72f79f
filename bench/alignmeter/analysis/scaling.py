"""Cost against sequence length: ladders of records, their exponents, where one crosses another.

For each quantity a cost is taken as c T^k. The exponent k is the slope of the least-squares line
through the points (log T, log cost) of one replicate; intervals are taken over replicates.
"""

__all__ = [
    "LONGEST",
    "STEP_MEMORY",
    "STEP_TIME",
    "Crossing",
    "Fit",
    "Ladder",
    "Quantity",
    "crossing_length",
    "crossings",
    "exponent_text",
    "fits",
    "ladders",
]

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from alignmeter.analysis.intervals import Estimate, estimate, mean
from alignmeter.analysis.likeness import Group, groups, newest_first
from alignmeter.cells.cell import Cell
from alignmeter.records.record import Record
from alignmeter.registry import ARCHITECTURES, ArchitectureRow

_LEAST_LENGTHS = 3
"""A line through two points fits always and shows nothing."""
LONGEST = 2**40
"""Tokens; a longer sequence is no measurement, and sums of such numbers lose their digits."""
Metric = Literal["time", "memory"]
Curve = dict[int, float]
"""Tokens per sequence -> s or bytes."""
Replicate = tuple[int, int, int]
"""Seed, number, and which of several records with these two: folders may come from many runs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantity:
    """``time`` in s or ``memory`` in bytes, of the whole ``step``, of one ``phase`` of it, or of
    one family of ``operators`` (time only).
    """

    metric: Metric
    part: Literal["step", "phase", "operators"]
    name: str


STEP_TIME = Quantity(metric="time", part="step", name="step")
STEP_MEMORY = Quantity(metric="memory", part="step", name="step")


@dataclass(frozen=True, kw_only=True, slots=True)
class Ladder:
    """Measured records that differ in sequence length and nothing else.

    Prompts grow with the sequence: they are half of it, or all of it but a fixed number of tokens.
    ``cell`` is the shortest. ``lengths`` ascend. ``latest``: when one was measured last.
    ``invalid`` maps a metric to the codes of the reasons why some record is invalid in it.
    """

    cell: Cell
    device: str
    lengths: tuple[int, ...]
    latest: datetime
    curves: Mapping[Quantity, Mapping[Replicate, Curve]]
    invalid: Mapping[str, tuple[str, ...]]
    where: tuple[object, ...]

    @property
    def settings(self) -> str:
        """Everything in the cell's id but method, architecture, lengths and digest."""
        return self.cell.name("method", "architecture", "seq_len")

    @property
    def row(self) -> ArchitectureRow | None:
        """What is known of its architecture; ``None`` if this version does not know it."""
        return ARCHITECTURES.get(self.cell.architecture)

    def lengths_of(self, quantity: Quantity) -> list[int]:
        """Lengths at which at least one replicate has it."""
        curves = self.curves.get(quantity, {})
        return sorted({length for curve in curves.values() for length in curve})

    def figures(self, quantity: Quantity, length: int) -> list[float]:
        """One per replicate that has it."""
        curves = self.curves.get(quantity, {})
        return [curves[k][length] for k in sorted(curves) if length in curves[k]]


def ladders(records: Iterable[Record], found: Iterable[Group] | None = None) -> list[Ladder]:
    """Every family with at least three lengths, by device, settings, method, architecture.

    Of several commits the newest that has them, of several sessions each length's newest.
    ``found``: the groups of the records, if they are known.
    """
    families: dict[tuple[object, ...], dict[object, list[Group]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for group in groups(records) if found is None else found:
        if group.ran and group.cell.seq_len <= LONGEST:
            # The architecture stands in the key, so its random weights need not.
            key = group.cell.architecture, *_where(group)
            families[key][group.place.commit].append(group)
    listed = [ladder for commits in families.values() for ladder in _newest(commits.values())]
    return sorted(listed, key=lambda f: (f.device, f.settings, f.cell.method, f.cell.architecture))


def _newest(commits: Iterable[Sequence[Group]]) -> list[Ladder]:
    """The ladder of the newest commit that has enough lengths, if one has."""
    ladders = []
    for family in commits:
        by_length: dict[int, Group] = {}
        for group in newest_first(family):
            by_length.setdefault(group.cell.seq_len, group)
        if len(by_length) >= _LEAST_LENGTHS:
            ladders.append(list(by_length.values()))
    newest = max(ladders, key=lambda found: max(group.latest for group in found), default=None)
    return [] if newest is None else [_ladder(newest)]


def _where(group: Group) -> tuple[object, ...]:
    """What two ladders of different architectures must share to be held against each other."""
    return *group.cell.without("architecture", "seq_len"), *group.place.setting


def _ladder(family: Sequence[Group]) -> Ladder:
    curves: dict[Quantity, dict[Replicate, Curve]] = defaultdict(lambda: defaultdict(dict))
    invalid: dict[str, set[str]] = {"time": set(), "memory": set()}
    seen: Counter[tuple[int, int, int]] = Counter()
    for record in (r for group in family for r in group.records if r.status == "ok"):
        same = record.cell.seq_len, record.seed, record.replicate
        replicate = record.seed, record.replicate, seen[same]
        seen[same] += 1
        for quantity, figure in _figures(record):
            if figure is not None and 0 < figure < math.inf:
                curves[quantity][replicate][record.cell.seq_len] = float(figure)
        for metric, codes in invalid.items():
            verdict = record.validity.get(metric)
            codes.update(reason.code for reason in (verdict.reasons if verdict else []))
    first = min(family, key=lambda group: group.cell.seq_len)
    return Ladder(
        cell=first.cell,
        device=first.where,
        lengths=tuple(sorted(group.cell.seq_len for group in family)),
        latest=max(group.latest for group in family),
        curves={quantity: dict(found) for quantity, found in curves.items()},
        invalid={metric: tuple(sorted(codes)) for metric, codes in invalid.items()},
        where=_where(first),
    )


def _figures(record: Record) -> Iterable[tuple[Quantity, float | None]]:
    yield STEP_TIME, record.timing.median_s
    for name, phase in record.phases.items():
        yield Quantity(metric="time", part="phase", name=name), phase.median_s
    for name, seconds in record.timing.operator_s.items():
        yield Quantity(metric="time", part="operators", name=name), seconds
    yield STEP_MEMORY, record.memory.allocated_peak_bytes
    for name, phase in record.phases.items():
        yield Quantity(metric="memory", part="phase", name=name), phase.peak_bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """Exponent of one quantity over ``lengths``, and its slope between the last two of them."""

    quantity: Quantity
    exponent: Estimate
    last_slope: Estimate
    lengths: tuple[int, ...]


def fits(ladder: Ladder) -> list[Fit]:
    """One per quantity, in order of a step, over the longer half of the lengths, at least three.

    What does not grow with T (the start of a step, Python, the optimizer) bends the short end of
    the line. A replicate that lacks one of these lengths is left out.
    """
    found = []
    for quantity, curves in ladder.curves.items():
        lengths = ladder.lengths_of(quantity)
        lengths = lengths[-max(_LEAST_LENGTHS, len(lengths) // 2) :]
        whole = [curve for curve in curves.values() if set(lengths) <= set(curve)]
        if len(lengths) < _LEAST_LENGTHS or not whole:
            continue
        found.append(
            Fit(
                quantity=quantity,
                exponent=mean([_slope(curve, lengths) for curve in whole]),
                last_slope=mean([_slope(curve, lengths[-2:]) for curve in whole]),
                lengths=tuple(lengths),
            )
        )
    return found


def _slope(curve: Curve, lengths: Sequence[int]) -> float:
    x = [math.log(length) for length in lengths]
    return statistics.linear_regression(x, [math.log(curve[length]) for length in lengths]).slope


def exponent_text(exponent: Estimate) -> str:
    """``1.93`` with half its interval, where there is one: ``1.93 ±0.02``."""
    if exponent.high is None:
        return f"{exponent.value:.2f}"
    return f"{exponent.value:.2f} ±{exponent.high - exponent.value:.2f}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Crossing:
    """From which length on ``other`` is cheaper than ``base``, and ``text`` says so.

    ``length``: over replicates; ``None`` if some replicate has no crossing.
    """

    base: Ladder
    other: Ladder
    metric: Metric
    length: Estimate | None
    text: str

    @property
    def invalid(self) -> bool:
        """Whether a record on either side is invalid in this metric."""
        return bool(self.base.invalid[self.metric] or self.other.invalid[self.metric])


def crossings(found: Sequence[Ladder]) -> list[Crossing]:
    """Each model that carries a state, hybrids too, against each Transformer, in time and in peak
    memory of a step.
    """
    pairs = [
        (base, other)
        for base in found
        for other in found
        if base.row is not None and other.row is not None and base.where == other.where
        if other.row.state_space and not base.row.state_space
    ]
    rows = [_crossing(*pair, quantity) for pair in pairs for quantity in (STEP_TIME, STEP_MEMORY)]
    return [row for row in rows if row is not None]


def crossing_length(base: Curve, other: Curve) -> float | None:
    """The length from which on ``other`` is cheaper at every longer length that both have.

    Between two measured lengths both are taken as straight on log-log axes. ``None`` where
    ``other`` is dearer at the longest length, or cheaper at all of them.
    """
    lengths = sorted(base.keys() & other.keys())
    gaps = [math.log(other[length] / base[length]) for length in lengths]
    if not gaps or gaps[-1] >= 0 or max(gaps) < 0:
        return None
    i = max(i for i, gap in enumerate(gaps) if gap >= 0)
    share = gaps[i] / (gaps[i] - gaps[i + 1])
    return math.exp(math.log(lengths[i]) + share * math.log(lengths[i + 1] / lengths[i]))


def _crossing(base: Ladder, other: Ladder, quantity: Quantity) -> Crossing | None:
    pairs = [
        (curve, other.curves[quantity][k])
        for k, curve in base.curves.get(quantity, {}).items()
        if k in other.curves.get(quantity, {})
    ]
    pairs = [(a, b) for a, b in pairs if len(a.keys() & b.keys()) >= _LEAST_LENGTHS]
    if not pairs:
        return None
    lengths = [crossing_length(a, b) for a, b in pairs]
    there = [length for length in lengths if length is not None]
    if len(there) == len(pairs):
        length = estimate(there)
        text = f"from T = {length.value:.0f} on"
        if length.low is not None and length.high is not None:
            text += f" ({length.low:.0f} to {length.high:.0f})"
    else:
        names = base.cell.architecture, other.cell.architecture
        length, text = None, _no_crossing(pairs, there, names)
    return Crossing(base=base, other=other, metric=quantity.metric, length=length, text=text)


def _no_crossing(
    pairs: Sequence[tuple[Curve, Curve]], there: Sequence[float], names: tuple[str, str]
) -> str:
    if there:
        return f"not settled: {len(there)} of {len(pairs)} replicates have a crossing"
    cheaper = [b[length] < a[length] for a, b in pairs for length in a.keys() & b.keys()]
    if all(cheaper):
        return f"not within the range measured: {names[1]} is cheaper at every length"
    if not any(cheaper):
        return f"not within the range measured: {names[0]} is cheaper at every length"
    return f"not within the range measured: {names[0]} is cheaper at the longest"
