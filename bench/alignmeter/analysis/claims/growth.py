"""Claims about growth with sequence length, and about DPO on state-space models."""

__all__ = ["attention_quadratic", "dpo_on_ssm", "mamba_linear", "transformer_quadratic"]

from collections.abc import Callable, Sequence

from alignmeter.analysis.claims.evidence import Evidence, Material, Stance
from alignmeter.analysis.intervals import LEAST_REPLICATES, Estimate
from alignmeter.analysis.pairings import cell_text
from alignmeter.analysis.scaling import STEP_TIME, Fit, Ladder, Quantity

LINEAR = 1.2
"""Exponents up to it are called linear: beside T comes what does not grow and bends the line."""
QUADRATIC = 1.8
"""Exponents from it on are called quadratic."""
_ATTENTION = Quantity(metric="time", part="operators", name="attention")


def _exponents(
    material: Material,
    architectures: Sequence[str],
    quantity: Quantity,
    stance: Callable[[float, float], Stance],
) -> list[Evidence]:
    rows = [
        _exponent(ladder, fits, quantity, stance)
        for ladder, fits in material.ladders
        if ladder.cell.architecture in architectures
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
    elif ladder.spoiled["time"]:
        why = f"must not be ranked: {', '.join(ladder.spoiled['time'])}"
    else:
        side = stance(low, high)
        why = "the interval leaves it open" if side == "open" else ""
    lengths = f"T {fit.lengths[0]} to {fit.lengths[-1]}"
    cell = cell_text(ladder.cell, without=("seq_len",))
    return Evidence(
        cells=(ladder.cell.id,), device=ladder.device, what=f"{cell}, {lengths}",
        figure=fit.exponent, unit="k", stance=side, why=why,
    )  # fmt: skip


def _linear(low: float, high: float) -> Stance:
    return "holds" if high <= LINEAR else "fails" if low > LINEAR else "open"


def _quadratic(low: float, high: float) -> Stance:
    return "holds" if low >= QUADRATIC else "fails" if high < QUADRATIC else "open"


def mamba_linear(material: Material) -> list[Evidence]:
    """The exponent of a state-space model's step."""
    return _exponents(material, ("mamba", "mamba2"), STEP_TIME, _linear)


def transformer_quadratic(material: Material) -> list[Evidence]:
    """The exponent of a Transformer's step."""
    return _exponents(material, ("llama",), STEP_TIME, _quadratic)


def attention_quadratic(material: Material) -> list[Evidence]:
    """The exponent of the time in a Transformer's attention."""
    return _exponents(material, ("llama",), _ATTENTION, _quadratic)


def dpo_on_ssm(material: Material) -> list[Evidence]:
    """Whether DPO's losses on a state-space model agree with the reference's."""
    rows = []
    for group in material.groups:
        ran = [record for record in group.records if record.status == "ok"]
        if group.cell.method != "dpo" or group.cell.architecture == "llama" or not ran:
            continue
        said = {record.numerics.agrees for record in ran}
        stance: Stance = "fails" if False in said else "holds" if said == {True} else "open"
        count = Estimate(value=len(ran), low=None, high=None, n=len(ran))
        why = next((r.numerics.reason for r in ran if r.numerics.reason), None) or "unchecked"
        rows.append(
            Evidence(
                cells=(group.cell.id,), device=group.device,
                what=cell_text(group.cell, without=("method",)),
                figure=count, unit="replicates", stance=stance,
                why="" if stance == "holds" else why,
            )
        )  # fmt: skip
    return rows
