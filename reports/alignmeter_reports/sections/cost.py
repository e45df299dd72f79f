"""What steps cost: device-hours and energy always, money only where prices were given."""

__all__ = ["CostRow", "CostView", "Money", "Saving", "cost_view", "money_of", "price_of"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alignmeter.analysis.claims import Evidence, step_ratios
from alignmeter.analysis.likeness import Group
from alignmeter.analysis.prices import Prices
from alignmeter.records.record import Provenance, Record
from alignmeter.registry import DELTAS
from alignmeter.text import plain
from alignmeter_reports.cells import CellRow

_STEPS = 1000
_TOKENS = 1e6
_HOUR_S = 3600
_KWH_J = 3.6e6


@dataclass(frozen=True, kw_only=True, slots=True)
class Money:
    """Of 1000 optimisation steps and of a million trained tokens. ``missing``: why there is none"""

    per_steps: float | None = None
    per_million: float | None = None
    missing: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class CostRow:
    """One cell. Hours and energy are of 1000 optimisation steps.

    ``starred``: time or energy is invalid.
    """

    row: CellRow
    hours: float | None
    hours_per_million: float | None
    energy_kwh: float | None
    money: Money
    starred: bool


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
    """``prices``: ``None`` where none were given."""

    prices: Prices | None
    rows: list[CostRow]
    savings: list[Saving]


def cost_view(rows: Sequence[CellRow], groups: Sequence[Group], prices: Prices | None) -> CostView:
    """Costs of every cell that was timed, in the order of the rows, and what each pair of `DELTAS`
    saves.
    """
    costs = [_cost(row, prices) for row in rows if row.time_s is not None]
    by_cell = {(cost.row.cell.id, cost.row.device): cost for cost in costs}
    savings = [
        _saving((method.upper(), versus.upper()), evidence, by_cell)
        for method, versus in DELTAS
        for evidence in step_ratios(groups, value=method, versus=versus, metric="time")
        if evidence.figure is not None
    ]
    return CostView(prices=prices, rows=costs, savings=[s for s in savings if s is not None])


def _cost(row: CellRow, prices: Prices | None) -> CostRow:
    seconds = row.time_s.value if row.time_s is not None else 0.0
    hours = _hours(seconds)
    per_million = _TOKENS / (_STEPS * row.tokens) if row.tokens else None
    return CostRow(
        row=row,
        hours=hours,
        hours_per_million=None if per_million is None else hours * per_million,
        energy_kwh=None if row.energy_j is None else _kwh(row.energy_j),
        money=_money(row.place, seconds, row.energy_j, row.tokens, prices),
        starred=bool({"time", "energy" if row.energy_j is not None else "time"} & set(row.invalid)),
    )


def money_of(record: Record, prices: Prices | None) -> Money:
    """What one replicate's steps cost."""
    seconds, rate = record.timing.median_s, record.throughput.trained_tokens_per_s
    if not seconds or seconds < 0:
        return Money(missing="it was not timed")
    tokens = seconds * rate if rate and rate > 0 else None
    return _money(record.provenance, seconds, record.energy.per_step_j, tokens, prices)


def _hours(seconds: float) -> float:
    return _STEPS * seconds / _HOUR_S


def _kwh(joules: float) -> float:
    return _STEPS * joules / _KWH_J


def _money(
    place: Provenance,
    seconds: float,
    joules: float | None,
    tokens: float | None,
    prices: Prices | None,
) -> Money:
    if prices is None:
        return Money(missing="no prices were given")
    if prices.of(place) is None:
        return Money(missing=plain(f"the prices have no {place.device}"))
    money = price_of(place, seconds, joules, prices)
    if money is None:
        return Money(missing="its energy was not measured")
    per_million = None if not tokens else money * _TOKENS / (_STEPS * tokens)
    return Money(per_steps=money, per_million=per_million)


def price_of(
    place: Provenance, seconds: float, joules: float | None, prices: Prices | None
) -> float | None:
    """Price of 1000 steps: the device's hours with their electricity, of one step's figures.

    ``None`` where the prices lack the device, or electricity is paid apart and was not measured.
    """
    price = None if prices is None else prices.of(place)
    if prices is None or price is None:
        return None
    if prices.electricity_per_kwh is None:
        return price * _hours(seconds)
    if joules is None:
        return None
    return price * _hours(seconds) + prices.electricity_per_kwh * prices.pue * _kwh(joules)


def _saving(
    names: tuple[str, str], evidence: Evidence, costs: Mapping[tuple[str, str], CostRow]
) -> Saving | None:
    less, more = (costs.get((cell, evidence.device)) for cell in evidence.cells)
    if less is None or more is None or less.hours is None or more.hours is None:
        return None
    ours, theirs = less.money.per_steps, more.money.per_steps
    money = None if ours is None or theirs is None else theirs - ours
    return Saving(names=names, evidence=evidence, hours=more.hours - less.hours, money=money)
