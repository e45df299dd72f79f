"""What steps cost: device-hours and energy always, money only where prices were given."""

__all__ = ["CostRow", "CostView", "Saving", "cost_view"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alignmeter.analysis.claims import Evidence, step_ratios
from alignmeter.analysis.cost import (
    MILLION,
    STEPS,
    Money,
    cost_metric,
    hours_of,
    kwh_of,
    priced,
)
from alignmeter.analysis.likeness import Group
from alignmeter.analysis.prices import Prices
from alignmeter.cells.labels import spelled
from alignmeter.cells.naming import Naming
from alignmeter.registry import DELTAS
from alignmeter.text import counted
from alignmeter_reports.cells import CellRow


@dataclass(frozen=True, kw_only=True, slots=True)
class CostRow:
    """One cell. Hours, of all devices, and energy are of 1000 optimisation steps.

    ``invalid``: which of ``time``, ``energy`` and ``money`` are; money is where a figure that it is
    made of is.
    """

    row: CellRow
    hours: float | None
    hours_per_million: float | None
    energy_kwh: float | None
    money: Money
    invalid: frozenset[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Saving:
    """Device-hours that 1000 steps of one method save over another's, in one pair of like cells.

    ``names``: both methods as people write them.
    """

    names: tuple[str, str]
    evidence: Evidence
    hours: float
    money: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CostView:
    """``prices``: ``None`` where none were given. ``headline``: for each device what a million
    trained tokens cost there, valid figures alone.
    """

    prices: Prices | None
    headline: list[str]
    rows: list[CostRow]
    savings: list[Saving]


def cost_view(rows: Sequence[CellRow], groups: Sequence[Group], prices: Prices | None) -> CostView:
    """Costs of every cell that was timed, in the order of the rows, and what each pair of `DELTAS`
    saves.
    """
    costs = [_cost(row, prices) for row in rows if row.time_s is not None]
    by_cell = {(cost.row.cell.id, cost.row.device): cost for cost in costs}
    savings = [
        _saving((spelled("method", method), spelled("method", versus)), evidence, by_cell)
        for method, versus in DELTAS
        for evidence in step_ratios(groups, value=method, versus=versus, metric="time")
        if evidence.figure is not None
    ]
    return CostView(
        prices=prices,
        headline=[] if prices is None else _headline(costs, prices.currency),
        rows=costs,
        savings=[s for s in savings if s is not None],
    )


def _headline(costs: Sequence[CostRow], currency: str) -> list[str]:
    """``H100: 0.02 EUR (dpo, llama, ...) to 0.61 EUR (ppo, ...), over 12 cells``."""
    devices: dict[str, list[tuple[float, CostRow]]] = {}
    for cost in costs:
        if cost.money.per_million is not None and "money" not in cost.invalid:
            mine = devices.setdefault(cost.row.device, [])
            mine.append((cost.money.per_million, cost))
    names = Naming(cost.row.cell for cost in costs)
    lines = []
    for device, found in devices.items():
        ranked = sorted(found, key=lambda pair: (pair[0], pair[1].row.anchor))
        ends = [f"{money:.3g} {currency} ({names.of(cost.row.cell)})"
                for money, cost in (ranked[0], ranked[-1])]  # fmt: skip
        said = " to ".join(ends) if len(ranked) > 1 else ends[0]
        lines.append(f"{device}: {said}, over {counted(len(ranked), 'cell')} with valid figures")
    return lines


def _cost(row: CellRow, prices: Prices | None) -> CostRow:
    seconds = row.time_s.value if row.time_s is not None else 0.0
    hours = hours_of(seconds, row.devices)
    per_million = MILLION / (STEPS * row.tokens) if row.tokens else None
    invalid = {"time", "energy"} & set(row.invalid)
    if invalid & set(() if prices is None else cost_metric(prices).validity):
        invalid.add("money")
    return CostRow(
        row=row,
        hours=hours,
        hours_per_million=None if per_million is None else hours * per_million,
        energy_kwh=None if row.energy_j is None else kwh_of(row.energy_j),
        money=priced(row.place, seconds, row.energy_j, row.tokens, prices, devices=row.devices),
        invalid=frozenset(invalid),
    )


def _saving(
    names: tuple[str, str], evidence: Evidence, costs: Mapping[tuple[str, str], CostRow]
) -> Saving | None:
    less, more = (costs.get((cell, evidence.device)) for cell in evidence.cells)
    if less is None or more is None or less.hours is None or more.hours is None:
        return None
    ours, theirs = less.money.per_steps, more.money.per_steps
    money = None if ours is None or theirs is None else theirs - ours
    return Saving(names=names, evidence=evidence, hours=more.hours - less.hours, money=money)
