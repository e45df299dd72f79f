"""One metric of one cell: the replicates of both sides, and the verdict on them."""

__all__ = ["Rule", "Side", "judged", "side_of"]

from collections import Counter
from dataclasses import dataclass, field

import msgspec

from alignmeter.analysis.compare.result import CellComparison, Figure
from alignmeter.analysis.intervals import LEAST_REPLICATES, estimate, outcome
from alignmeter.analysis.likeness import Group
from alignmeter.analysis.metrics import Metric, usable
from alignmeter.records.record import Record


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """How a metric is judged. ``minimum``: the smallest effect that counts, as a share of 1.

    ``paired``: replicate k of the two sides was measured in turns, so that they make a pair.
    """

    minimum: float
    paired: bool = False


@dataclass(kw_only=True, slots=True)
class Side:
    """What one side has of a metric.

    ``ok``: replicates that were measured. ``values``: one for each that may be ranked, and
    ``replicates`` their numbers. ``kinds``: what these are figures of. ``spoiled``: reason code ->
    replicates that must not be ranked; ``spoiled_values``: how many of them have a figure;
    ``text``: the first such reason in words.
    """

    ok: int = 0
    values: list[float] = field(default_factory=list)
    replicates: list[int] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)
    spoiled: Counter[str] = field(default_factory=Counter)
    spoiled_values: int = 0
    text: str = ""

    def has_too_few(self, metric: Metric) -> bool:
        """Whether so many replicates are spoiled that the rest gives no verdict."""
        return bool(self.spoiled) and len(self.values) < (1 if metric.exact else LEAST_REPLICATES)

    @property
    def spoiled_text(self) -> str:
        """``host_loaded in 2 of 3 replicates``."""
        codes = ", ".join(f"{code} in {n} of {self.ok}" for code, n in self.spoiled.items())
        return f"{codes} replicates"


def side_of(group: Group, metric: Metric) -> Side:
    """The replicates that are ok, those apart that must not be ranked."""
    side = Side()
    for record in group.records:
        if record.status != "ok":
            continue
        side.ok += 1
        value = metric.pick(record)
        verdict = record.validity.get(metric.validity)
        if verdict is None or not verdict.ok:
            reasons = verdict.reasons if verdict else []
            side.spoiled.update({reason.code for reason in reasons} or {"not judged"})
            side.spoiled_values += value is not None
            side.text = side.text or next((reason.text for reason in reasons), "")
        elif value is not None and usable(value):
            side.values.append(value)
            side.replicates.append(record.replicate)
            side.kinds.add(_kind(record, metric))
    return side


def _kind(record: Record, metric: Metric) -> str:
    """What the figure is a figure of: another source is another quantity."""
    if metric.name == "energy":
        return f"{record.energy.source} of {record.energy.scope or 'an unknown scope'}"
    return record.memory.kind if metric.exact else ""


def _figure(side: Side, metric: Metric) -> Figure | None:
    if not side.values:
        return None
    if metric.exact:
        return Figure(value=max(side.values), replicates=len(side.values))
    found = estimate(side.values)
    return Figure(value=found.value, low=found.low, high=found.high, replicates=found.n)


def judged(
    row: CellComparison, base: Side, new: Side, metric: Metric, rule: Rule
) -> CellComparison:
    """``row`` with figures, verdict and reason."""
    row = msgspec.structs.replace(row, base=_figure(base, metric), new=_figure(new, metric))
    say = msgspec.structs.replace
    if not any((base.values, new.values, base.spoiled_values, new.spoiled_values)):
        # Nobody has the figure: that it is missing is no news.
        return say(row, verdict="not available", reason=new.text or base.text or "no figure")
    sides = {"BASE": base, "NEW": new}
    spoiled = [name for name, side in sides.items() if side.has_too_few(metric)]
    if spoiled:
        reason = "; ".join(f"{name}: {sides[name].spoiled_text}" for name in spoiled)
        return say(row, verdict="invalid", reason=reason, lost=_had(base) and spoiled == ["NEW"])
    if not base.values or not new.values:
        name = "NEW" if base.values else "BASE"
        reason = f"no figure in {name}"
        return say(row, verdict="not available", reason=reason, lost=_had(base))
    if len(base.kinds | new.kinds) > 1:
        ours, theirs = ", ".join(sorted(base.kinds)), ", ".join(sorted(new.kinds))
        reason = f"unlike: {ours} in BASE, {theirs} in NEW"
        return say(row, verdict="refused", reason=reason, lost=True)
    return _ranked(row, base, new, metric, rule)


def _had(base: Side) -> bool:
    return bool(base.values)


def _in_pairs(base: Side, new: Side) -> tuple[list[float], list[float]]:
    """The figures of the replicates that both have, each once, in one order."""
    ours, theirs = (
        {
            number: value
            for number, value in zip(side.replicates, side.values, strict=True)
            if side.replicates.count(number) == 1
        }
        for side in (base, new)
    )
    both = sorted(ours.keys() & theirs.keys())
    return [ours[number] for number in both], [theirs[number] for number in both]


def _ranked(
    row: CellComparison, base: Side, new: Side, metric: Metric, rule: Rule
) -> CellComparison:
    ours, theirs = base.values, new.values
    paired = rule.paired and not metric.exact
    if paired:
        ours, theirs = _in_pairs(base, new)
    if not ours:
        return msgspec.structs.replace(
            row, verdict="not available", reason="no replicate has its partner in the other run"
        )
    found = metric.ratio(theirs, ours, paired=paired)
    verdict = outcome(found, rule.minimum, higher_is_better=metric.higher_is_better)
    reasons = []
    if verdict == "not available":
        counts = f"{len(ours)} pairs" if paired else f"BASE {len(ours)}, NEW {len(theirs)}"
        what = "pairs of replicates" if paired else "replicates"
        reasons.append(f"fewer than {LEAST_REPLICATES} {what} ({counts})")
    for name, side in (("BASE", base), ("NEW", new)):
        if side.spoiled:
            reasons.append(f"{name}: left out {side.spoiled_text}")
    return msgspec.structs.replace(
        row,
        ratio=found.value,
        low=found.low,
        high=found.high,
        effect_percent=100 * (found.value - 1),
        verdict=verdict,
        reason="; ".join(reasons),
    )
