"""Claims about growth with sequence length, and about methods on state-space models."""

__all__ = ["agrees_on_state_spaces", "grows"]

import math
from collections.abc import Callable, Sequence

from alignmeter.analysis.claims.evidence import Evidence, Material, Stance
from alignmeter.analysis.intervals import LEAST_REPLICATES, Estimate
from alignmeter.analysis.likeness import current
from alignmeter.analysis.scaling import STEP_TIME, Fit, Ladder, Quantity
from alignmeter.cells.labels import cell_text
from alignmeter.registry import ARCHITECTURES


def grows(
    material: Material,
    *,
    state_space: bool,
    operators: str = "",
    at_most: float = math.inf,
    at_least: float = -math.inf,
) -> list[Evidence]:
    """The exponent of a step's time, or of that in a family of its ``operators``.

    Of state-space models, or of Transformers; a hybrid is neither. It holds if the whole interval
    is within the bounds, and fails if the whole interval is outside.
    """
    quantity = STEP_TIME
    if operators:
        quantity = Quantity(metric="time", part="operators", name=operators)

    def stance(low: float, high: float) -> Stance:
        if at_least <= low and high <= at_most:
            return "holds"
        return "fails" if low > at_most or high < at_least else "open"

    rows = [
        _exponent(ladder, fits, quantity, stance)
        for ladder, fits in material.ladders
        if ladder.row is not None and not ladder.row.hybrid
        if ladder.row.state_space is state_space
    ]
    return [row for row in rows if row is not None]


def _exponent(
    ladder: Ladder,
    fits: Sequence[Fit],
    quantity: Quantity,
    stance: Callable[[float, float], Stance],
) -> Evidence | None:
    fit = next((fit for fit in fits if fit.quantity == quantity), None)
    if fit is None:
        return None
    low, high = fit.exponent.low, fit.exponent.high
    side: Stance = "open"
    if low is None or high is None:
        why = f"fewer than {LEAST_REPLICATES} replicates have all lengths"
    elif ladder.invalid["time"]:
        why = f"invalid: {', '.join(ladder.invalid['time'])}"
    else:
        side = stance(low, high)
        why = "the interval leaves it open" if side == "open" else ""
    lengths = f"T {fit.lengths[0]} to {fit.lengths[-1]}"
    cell = cell_text(ladder.cell, without=("seq_len",))
    return Evidence(
        cells=(ladder.cell.id,), device=ladder.device, what=f"{cell}, {lengths}",
        figure=fit.exponent, unit="k", stance=side, why=why,
    )  # fmt: skip


def agrees_on_state_spaces(material: Material, *, method: str) -> list[Evidence]:
    """Whether a method's losses on a state-space model agree with the reference's."""
    rows = []
    for group in current(material.groups):
        ran = [record for record in group.records if record.status == "ok"]
        row = ARCHITECTURES.get(group.cell.architecture)
        if group.cell.method != method or not ran:
            continue
        if row is None or row.hybrid or not row.state_space:
            continue
        said = {record.numerics.agrees for record in ran}
        stance: Stance = "fails" if False in said else "holds" if said == {True} else "open"
        count = Estimate(value=len(ran), low=None, high=None, n=len(ran))
        why = next((r.numerics.reason for r in ran if r.numerics.reason), None) or "unchecked"
        rows.append(
            Evidence(
                cells=(group.cell.id,), device=group.where,
                what=cell_text(group.cell, without=("method",)),
                figure=count, unit="replicates", stance=stance,
                why="" if stance == "holds" else why,
            )
        )  # fmt: skip
    return rows
