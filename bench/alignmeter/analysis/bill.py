"""The whole bill of a recipe: what it costs to come from a base model to an aligned one.

A recipe is a row of stages, each a method that is trained after the one before it; which recipes
there are stands in the registry. A bill is made of records, one group of replicates a stage, alike
in everything but the method and what only methods have.
"""

__all__ = ["STEPS", "Bill", "Stage", "bills", "recipe_text"]

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from alignmeter.analysis.delta import peak_counts
from alignmeter.analysis.intervals import Estimate, estimate
from alignmeter.analysis.likeness import Group, current
from alignmeter.analysis.metrics import METRICS
from alignmeter.analysis.sides import side_of
from alignmeter.cells.labels import spelled
from alignmeter.registry import METHODS, RECIPES

STEPS = 1000
"""Optimisation steps of each stage that a bill is of."""
_METHOD_AXES = tuple(sorted({axis for row in METHODS.values() for axis in row.axes}))
_WEIGHTS = "_weights_bytes"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One method of a recipe. ``time``: of one step, in s; ``energy``: of one step, in J; ``None``
    where no replicate has a valid figure. ``kind``: of memory. ``models``: those in memory at the
    peak.
    """

    group: Group
    kind: str
    peak_bytes: int
    time: Estimate | None
    energy: Estimate | None
    models: tuple[str, ...]

    @property
    def method(self) -> str:
        """Its name in the registry."""
        return self.group.cell.method


@dataclass(frozen=True, kw_only=True, slots=True)
class Bill:
    """What the stages of one recipe need together, in one place."""

    stages: tuple[Stage, ...]

    @property
    def recipe(self) -> tuple[str, ...]:
        """Names of its methods, in order."""
        return tuple(stage.method for stage in self.stages)

    @property
    def device(self) -> str:
        """Name of the device, with its setting where there are several."""
        return self.stages[0].group.where

    @property
    def largest(self) -> Stage:
        """The stage that decides how much memory the recipe needs."""
        return max(self.stages, key=lambda stage: stage.peak_bytes)

    @property
    def time(self) -> Estimate | None:
        """s of `STEPS` steps of every stage."""
        return _sum([stage.time for stage in self.stages])

    @property
    def energy(self) -> Estimate | None:
        """J of the same."""
        return _sum([stage.energy for stage in self.stages])


def recipe_text(recipe: Iterable[str]) -> str:
    """``SFT + RM + PPO``."""
    return " + ".join(spelled("method", name) for name in recipe)


def bills(found: Iterable[Group]) -> list[Bill]:
    """Of each recipe all whose stages were measured, in the registry's order."""
    families: dict[tuple[object, ...], list[Stage]] = defaultdict(list)
    for group in current(found):
        stage = _stage(group)
        if stage is not None:
            alike = group.cell.without("method", *_METHOD_AXES)
            families[(*alike, *group.place.setting, group.place.commit)].append(stage)
    return [
        Bill(stages=stages)
        for recipe in RECIPES
        for family in families.values()
        for stages in product(*([s for s in family if s.method == name] for name in recipe))
    ]


def _stage(group: Group) -> Stage | None:
    """``None`` where no replicate has a peak that counts."""
    measured = [record for record in group.records if peak_counts(record)]
    if not measured:
        return None
    largest = max(measured, key=lambda record: record.memory.allocated_peak_bytes or 0)
    rows = largest.ledger.items()
    return Stage(
        group=group,
        kind=largest.memory.kind,
        peak_bytes=largest.memory.allocated_peak_bytes or 0,
        time=_estimate(group, "time"),
        energy=_estimate(group, "energy"),
        models=tuple(row.removesuffix(_WEIGHTS) for row, n in rows if row.endswith(_WEIGHTS) and n),
    )


def _estimate(group: Group, metric: str) -> Estimate | None:
    side = side_of(group, METRICS[metric])
    return estimate(side.values) if side.values else None


def _sum(found: Sequence[Estimate | None]) -> Estimate | None:
    """Of `STEPS` steps each. Stages are measured apart, so their errors add in quadrature."""
    parts = [part for part in found if part is not None]
    if len(parts) < len(found):
        return None
    value = STEPS * math.fsum(part.value for part in parts)
    low = high = None
    if all(part.low is not None and part.high is not None for part in parts):
        low = value - STEPS * math.hypot(*(p.value - p.low for p in parts if p.low is not None))
        high = value + STEPS * math.hypot(*(p.high - p.value for p in parts if p.high is not None))
    return Estimate(value=value, low=low, high=high, n=min(part.n for part in parts))
