"""The verdict on one metric of one cell, from what both sides have of it."""

__all__ = ["Rule", "judged"]

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from alignmeter.analysis.compare.result import CellComparison, Figure
from alignmeter.analysis.intervals import LEAST_REPLICATES, estimate, outcome
from alignmeter.analysis.metrics import Metric
from alignmeter.analysis.sides import Side


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """How a metric is judged. ``minimum``: the smallest effect that counts, as a share of 1.

    ``paired``: replicate k of the two sides was measured in turns, so that they make a pair.
    """

    minimum: float
    paired: bool = False


def _figure(side: Side, metric: Metric) -> Figure | None:
    if side.values:
        return _of(side.values, metric)
    if side.invalid_values:
        return msgspec.structs.replace(_of(side.invalid_values, metric), valid=False)
    return None


def _of(values: Sequence[float], metric: Metric) -> Figure:
    if metric.exact:
        return Figure(value=max(values), replicates=len(values))
    found = estimate(values)
    return Figure(value=found.value, low=found.low, high=found.high, replicates=found.n)


def judged(
    row: CellComparison, base: Side, new: Side, metric: Metric, rule: Rule
) -> CellComparison:
    """``row`` with figures, verdict and reason."""
    row = msgspec.structs.replace(row, base=_figure(base, metric), new=_figure(new, metric))
    say = msgspec.structs.replace
    if not any((base.values, new.values, base.invalid_values, new.invalid_values)):
        # Nobody has the figure: that it is missing is no news.
        return say(row, verdict="not available", reason=new.text or base.text or "no figure")
    sides = {"BASE": base, "NEW": new}
    lacking = [name for name, side in sides.items() if side.has_too_few(metric)]
    if lacking:
        reason = "; ".join(f"{name}: {sides[name].invalid_text}" for name in lacking)
        return say(row, verdict="invalid", reason=reason, lost=_had(base) and lacking == ["NEW"])
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
        if side.invalid:
            reasons.append(f"{name}: left out {side.invalid_text}")
    return msgspec.structs.replace(
        row,
        ratio=found.value,
        low=found.low,
        high=found.high,
        effect_percent=100 * (found.value - 1),
        verdict=verdict,
        reason="; ".join(reasons),
    )
