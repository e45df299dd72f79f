"""What one group of replicates has of one metric, and the ratio of two such sides."""

__all__ = ["Side", "figure_of", "ratio_of", "side_of"]

from collections import Counter
from dataclasses import dataclass, field

from alignmeter.analysis.intervals import LEAST_REPLICATES, Estimate
from alignmeter.analysis.likeness import Group
from alignmeter.analysis.metrics import Metric, usable
from alignmeter.records.record import Record


@dataclass(kw_only=True, slots=True)
class Side:
    """What one side has of a metric.

    ``ok``: replicates that were measured. ``values``: one for each that are valid, and
    ``replicates`` their numbers. ``kinds``: what these are figures of. ``invalid``: reason code ->
    replicates whose figure is invalid; ``invalid_values``: those that they have;
    ``text``: the first such reason in words, or why there is no figure.
    """

    ok: int = 0
    values: list[float] = field(default_factory=list)
    replicates: list[int] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)
    invalid: Counter[str] = field(default_factory=Counter)
    invalid_values: list[float] = field(default_factory=list)
    text: str = ""

    def has_too_few(self, metric: Metric) -> bool:
        """Whether so many replicates are invalid that the rest gives no verdict."""
        return bool(self.invalid) and len(self.values) < (1 if metric.exact else LEAST_REPLICATES)

    @property
    def invalid_text(self) -> str:
        """``host_loaded in 2 of 3 replicates``."""
        codes = ", ".join(f"{code} in {n} of {self.ok}" for code, n in self.invalid.items())
        return f"{codes} replicates"


def side_of(group: Group, metric: Metric) -> Side:
    """The replicates that are ok, those apart whose figure is invalid.

    Worked out once for each group and metric, since a group may have many partners.
    """
    if metric not in group.sides:
        group.sides[metric] = _side_of(group, metric)
    found: Side = group.sides[metric]
    return found


def ratio_of(base: Group, other: Group, metric: Metric) -> tuple[Estimate | None, str]:
    """other / base, or ``None`` and why. Invalid figures are excluded.

    Bytes are exact; else Welch on logs.
    """
    sides = side_of(base, metric), side_of(other, metric)
    for side in sides:
        if not side.values:
            why = side.invalid_text if side.invalid_values else side.text or "not measured"
            return None, why
    kinds = sides[0].kinds | sides[1].kinds
    if len(kinds) > 1:
        return None, f"unlike: {' and '.join(sorted(kinds))}"
    return metric.ratio(sides[1].values, sides[0].values), ""


def _side_of(group: Group, metric: Metric) -> Side:
    side = Side()
    for record in group.records:
        if record.status != "ok":
            continue
        side.ok += 1
        value = metric.pick(record)
        verdicts = [record.validity.get(key) for key in metric.validity]
        if not all(verdict is not None and verdict.ok for verdict in verdicts):
            reasons = [r for verdict in verdicts if verdict for r in verdict.reasons]
            side.invalid.update({reason.code for reason in reasons} or {"not judged"})
            if value is not None and usable(value):
                side.invalid_values.append(value)
            side.text = side.text or next((reason.text for reason in reasons), "")
        elif value is not None and usable(value):
            side.values.append(value)
            side.replicates.append(record.replicate)
            side.kinds.add(_kind(record, metric))
        elif metric.missing is not None:
            side.text = side.text or metric.missing(record)
    return side


def figure_of(record: Record, metric: Metric) -> tuple[float | None, str | None]:
    """The figure of a replicate that was measured, and what it is a figure of, if it is valid."""
    value = metric.pick(record)
    if record.status != "ok" or not usable(value):
        return None, None
    valid = all((verdict := record.validity.get(key)) and verdict.ok for key in metric.validity)
    return value, _kind(record, metric) if valid else None


def _kind(record: Record, metric: Metric) -> str:
    """What the figure is a figure of: another source is another quantity."""
    if metric.name == "energy":
        energy = record.energy
        gaps = " without gaps between steps" if energy.gaps == "subtracted" else ""
        return f"{energy.source} of {energy.scope or 'an unknown scope'}{gaps}"
    return record.memory.kind if metric.exact else ""
