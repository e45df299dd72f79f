"""One cell on two devices: whether their numbers agree with each other, not only with a reference.

A speed compares two devices only if both computed the same. Each figure of the agreement steps may
be off by its band, which is a random walk of roundings (`docs/how-it-measures.md`). The difference
of two independent walks is one too, so two devices may be hypot(band, band) apart.
"""

__all__ = ["CrossCheck", "OnDevice", "Shared", "checks_by_row", "crosschecks"]

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from alignmeter.analysis.likeness import Group, current, groups
from alignmeter.cells.cell import Cell
from alignmeter.records.record import Record, Signal
from alignmeter.registry import METHODS

_STEPS = 2
"""Losses that are compared where one side had no reference: those of the agreement steps."""
_SAME_REFERENCE = 2e-4
"""References of one cell from two CPUs differ by fp32's rounding, as a share of their size."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OnDevice:
    """A cell on one device."""

    cell: Cell
    device: str

    @property
    def accelerator(self) -> str:
        """The cell's accelerator."""
        return self.cell.accelerator

    @property
    def name(self) -> str:
        """``cuda NVIDIA H100``."""
        known = self.device in ("", self.accelerator)
        return self.accelerator if known else f"{self.accelerator} {self.device}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """The step of one figure in which two devices are farthest apart.

    ``step`` counts from 1. ``one``, ``other``: what they found, ``None`` if it was not finite;
    ``apart`` is then ``None`` as well.
    """

    name: str
    step: int
    one: float | None
    other: float | None
    band: float

    @property
    def apart(self) -> float | None:
        """How far the two are apart."""
        return None if self.one is None or self.other is None else abs(self.one - self.other)

    @property
    def share(self) -> float:
        """The same as a share of the band; infinite if one was not finite."""
        if self.apart is None:
            return math.inf
        return self.apart / self.band if self.band > 0 else math.inf if self.apart else 0.0

    @property
    def agrees(self) -> bool:
        """Whether rounding explains it."""
        return self.apart is not None and self.apart <= self.band

    @property
    def text(self) -> str:
        """``loss 0.0012 apart (band 0.057)``."""
        if self.apart is None:
            return f"{self.name} not finite in step {self.step}"
        return f"{self.name} {self.apart:.2g} apart (band {self.band:.2g})"


@dataclass(frozen=True, kw_only=True, slots=True)
class CrossCheck:
    """Two places, and their figures beside each other. ``reason``: why there are none."""

    one: OnDevice
    other: OnDevice
    signals: tuple[Shared, ...] = ()
    reason: str = ""

    @property
    def agrees(self) -> bool | None:
        """Whether all figures agree; ``None``: unchecked."""
        return all(shared.agrees for shared in self.signals) if self.signals else None

    @property
    def widest(self) -> Shared:
        """The figure that uses most of its band. Raises `ValueError` where nothing was checked."""
        return max(self.signals, key=lambda shared: shared.share)

    @property
    def word(self) -> str:
        """``agree``, ``differ`` or ``unchecked``."""
        return {True: "agree", False: "differ", None: "unchecked"}[self.agrees]

    @property
    def text(self) -> str:
        """One sentence with the figures, those that differ first."""
        names = f"{self.one.name} and {self.other.name}"
        if self.agrees is None:
            return f"{names} unchecked: {self.reason}"
        ordered = sorted(self.signals, key=lambda shared: shared.agrees)
        return f"{names} {self.word}: {', '.join(shared.text for shared in ordered)}"

    def with_place(self, device: str) -> OnDevice:
        """The other place, for the row of ``device``."""
        return self.other if device == self.one.device else self.one


def crosschecks(
    records: Iterable[Record], found: Iterable[Group] | None = None
) -> list[CrossCheck]:
    """Every two devices that measured the same cell from the same seed, in order of cell id.

    Of each device the newest. ``found``: the groups of the records, if they are known.
    """
    families: dict[tuple[object, ...], dict[OnDevice, list[Record]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for group in current(groups(records) if found is None else found):
        place = OnDevice(cell=group.cell, device=group.device)
        for record in group.records:
            if record.status == "ok":
                families[_computed(record)][place].append(record)
    checks = [
        _checked(one, other, places)
        for places in families.values()
        for one, other in combinations(sorted(places, key=lambda place: place.name), 2)
    ]
    return sorted(checks, key=lambda check: (check.one.cell.id, check.one.name, check.other.name))


def checks_by_row(checks: Iterable[CrossCheck]) -> dict[tuple[str, str], list[CrossCheck]]:
    """(Cell id, device) -> the checks that this row of a table takes part in."""
    rows: dict[tuple[str, str], list[CrossCheck]] = defaultdict(list)
    for check in checks:
        for place in (check.one, check.other):
            rows[place.cell.id, place.device].append(check)
    return dict(rows)


def _computed(record: Record) -> tuple[object, ...]:
    """What two records have in common if they should have computed the same."""
    said = record.provenance
    settings = [*said.hyperparameters.items(), *said.peft.items(), *said.lora_targets]
    return (*record.cell.without("accelerator"), record.seed, *sorted(map(str, settings)))


def _checked(
    one: OnDevice, other: OnDevice, places: Mapping[OnDevice, Sequence[Record]]
) -> CrossCheck:
    ours, theirs = _best(places[one]), _best(places[other])
    reason = _obstacle(ours, theirs)
    if reason:
        return CrossCheck(one=one, other=other, reason=reason)
    mine, yours = _figures(ours), _figures(theirs)
    shared = [_farthest(mine[name], yours[name]) for name in mine if name in yours]
    return CrossCheck(
        one=one,
        other=other,
        signals=tuple(shared),
        reason="" if shared else "they have no figure in common",
    )


def _best(records: Sequence[Record]) -> Record:
    """The replicate that speaks for its device: one that disagrees before one that agrees."""
    order = {False: 0, True: 1, None: 2}
    return min(records, key=lambda r: (order[r.numerics.agrees], r.replicate))


def _obstacle(one: Record, other: Record) -> str:
    """Why the figures of the two cannot be held against each other; empty if they can."""
    sides = one.numerics, other.numerics
    with_band = [numerics for numerics in sides if numerics.agreement]
    if not with_band:
        return "neither has a reference, which says how far apart rounding may take them"
    if len(with_band) == 2:
        apart = [
            signal.name
            for signal in one.numerics.agreement
            for twin in other.numerics.agreement
            if signal.name == twin.name and not _same_reference(signal, twin)
        ]
        return f"they were compared with different references ({', '.join(apart)})" if apart else ""
    known = with_band[0]
    row = METHODS.get(one.cell.method)
    if row is not None and row.rollouts:
        return "one has no reference, so their rollouts are of different tokens"
    if known.agreement_layers is not None or known.agreement_seq_len is not None:
        return "one has no reference, so it ran no agreement steps on cut models"
    return ""


def _same_reference(one: Signal, other: Signal) -> bool:
    if len(one.reference) != len(other.reference):
        return False
    return all(
        abs(a - b) <= _SAME_REFERENCE * max(1.0, abs(a))
        for a, b in zip(one.reference, other.reference, strict=True)
    )


_Figure = tuple[str, Sequence[float | None], float | None]
"""Name, value of each step, and the band if there is one."""


def _figures(record: Record) -> dict[str, _Figure]:
    """The agreement steps' figures; without a reference their losses, which have no band."""
    numerics = record.numerics
    if numerics.agreement:
        return {s.name: (s.name, s.measured, s.band) for s in numerics.agreement}
    return {"loss": ("loss", numerics.losses[:_STEPS], None)} if numerics.losses else {}


def _farthest(one: _Figure, other: _Figure) -> Shared:
    (name, mine, band), (_, yours, their_band) = one, other
    bands = [known for known in (band, their_band) if known is not None]
    allowed = math.hypot(bands[0], bands[-1])
    both = min(len(mine), len(yours))  # losses: a run of one step has fewer than a run of five
    steps = [
        Shared(name=name, step=number + 1, one=a, other=b, band=allowed)
        for number, (a, b) in enumerate(zip(mine[:both], yours[:both], strict=True))
    ]
    lost = Shared(name=name, step=1, one=None, other=None, band=allowed)
    return max(steps, key=lambda s: math.inf if s.apart is None else s.apart, default=lost)
