"""What steps cost: device-hours and energy always, money only where prices were given."""

__all__ = ["CostRow", "CostView", "Saving", "cost_view"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alignmeter.claims import Evidence, Finding
from alignmeter.compare.words import plain
from alignmeter.prices import Prices
from alignmeter_reports.cells import CellRow

_STEPS = 1000
_TOKENS = 1e6
_HOUR_S = 3600
_KWH_J = 3.6e6


@dataclass(frozen=True, kw_only=True, slots=True)
class CostRow:
    """One cell. Hours and energy are of 1000 optimisation steps, money also of 1 M trained tokens.

    ``starred``: time or energy must not be ranked. ``missing``: why there is no money.
    """

    row: CellRow
    hours: float | None
    hours_per_million: float | None
    energy_kwh: float | None
    per_steps: float | None
    per_million: float | None
    starred: bool
    missing: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Saving:
    """Device-hours that 1000 DPO steps save over PPO's, in one pair of like cells."""

    evidence: Evidence
    hours: float
    money: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CostView:
    """``prices``: ``None`` where none were given."""

    prices: Prices | None
    rows: list[CostRow]
    savings: list[Saving]


def cost_view(rows: Sequence[CellRow], found: Sequence[Finding], prices: Prices | None) -> CostView:
    """Costs of every cell that was timed, in the order of the rows."""
    costs = [_cost(row, prices) for row in rows if row.time_s is not None]
    by_cell = {(cost.row.cell.id, cost.row.device): cost for cost in costs}
    pairs = [f.evidence for f in found if f.claim.name == "dpo-less-time"]
    savings = [_saving(e, by_cell) for evidence in pairs for e in evidence if e.figure is not None]
    return CostView(prices=prices, rows=costs, savings=[s for s in savings if s is not None])


def _cost(row: CellRow, prices: Prices | None) -> CostRow:
    seconds = row.time_s.value if row.time_s is not None else 0.0
    hours = _STEPS * seconds / _HOUR_S
    energy = None if row.energy_j is None else _STEPS * row.energy_j / _KWH_J
    money, missing = _money(row, hours, energy, prices)
    per_million = _TOKENS / (_STEPS * row.tokens) if row.tokens else None
    return CostRow(
        row=row,
        hours=hours,
        hours_per_million=None if per_million is None else hours * per_million,
        energy_kwh=energy,
        per_steps=money,
        per_million=None if money is None or per_million is None else money * per_million,
        starred=bool({"time", "energy" if energy is not None else "time"} & set(row.invalid)),
        missing=missing,
    )


def _money(
    row: CellRow, hours: float, energy: float | None, prices: Prices | None
) -> tuple[float | None, str]:
    """Price of so many hours with their electricity, or ``None`` and the reason."""
    if prices is None:
        return None, "no prices were given"
    price = prices.of(row.place)
    if price is None:
        return None, plain(f"the prices have no {row.device}")
    if prices.electricity_per_kwh is None:
        return price * hours, ""
    if energy is None:
        return None, "its energy was not measured"
    return price * hours + prices.electricity_per_kwh * prices.pue * energy, ""


def _saving(evidence: Evidence, costs: Mapping[tuple[str, str], CostRow]) -> Saving | None:
    dpo, ppo = (costs.get((cell, evidence.device)) for cell in evidence.cells)
    if dpo is None or ppo is None or dpo.hours is None or ppo.hours is None:
        return None
    both = dpo.per_steps is not None and ppo.per_steps is not None
    money = (ppo.per_steps or 0.0) - (dpo.per_steps or 0.0) if both else None
    return Saving(evidence=evidence, hours=ppo.hours - dpo.hours, money=money)
