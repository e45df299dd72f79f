"""What steps cost: hours of devices with their electricity, at prices that a reader gives."""

__all__ = ["MILLION", "STEPS", "Money", "cost_metric", "devices_of", "hours_of", "kwh_of",
           "money_of", "price_of", "priced"]  # fmt: skip

from dataclasses import dataclass

from alignmeter.analysis.metrics import Metric
from alignmeter.analysis.prices import Prices
from alignmeter.records.record import Provenance, Record
from alignmeter.text import plain

STEPS = 1000
MILLION = 1e6
"""Optimisation steps and trained tokens that costs are of."""
_HOUR_S = 3600
_KWH_J = 3.6e6


@dataclass(frozen=True, kw_only=True, slots=True)
class Money:
    """Of `STEPS` optimisation steps and of a million trained tokens. ``missing``: why there is
    none.
    """

    per_steps: float | None = None
    per_million: float | None = None
    missing: str = ""


def devices_of(record: Record) -> int:
    """How many devices a step takes, each of which is paid: ranks of a CPU may share one."""
    return len({(rank.node, rank.device) for rank in record.ranks}) or 1


def hours_of(seconds: float, devices: int) -> float:
    """Device-hours of `STEPS` steps that take ``seconds`` each on so many."""
    return STEPS * devices * seconds / _HOUR_S


def kwh_of(joules: float) -> float:
    """Of `STEPS` steps that take ``joules`` each."""
    return STEPS * joules / _KWH_J


def money_of(record: Record, prices: Prices | None) -> Money:
    """What one replicate's steps cost."""
    seconds, rate = record.timing.median_s, record.throughput.trained_tokens_per_s
    if not seconds or seconds < 0:
        return Money(missing="it was not timed")
    tokens = seconds * rate if rate and rate > 0 else None
    joules, devices = record.energy.per_step_j, devices_of(record)
    return priced(record.provenance, seconds, joules, tokens, prices, devices=devices)


def priced(
    place: Provenance,
    seconds: float,
    joules: float | None,
    tokens: float | None,
    prices: Prices | None,
    *,
    devices: int,
) -> Money:
    """What steps of these figures cost; ``tokens``: trained ones of a step."""
    if prices is None:
        return Money(missing="no prices given")
    if prices.of(place) is None:
        return Money(missing=plain(f"the prices have no {place.device}"))
    money = price_of(place, seconds, joules, prices, devices=devices)
    if money is None:
        return Money(missing="its energy was not measured")
    per_million = None if not tokens else money * MILLION / (STEPS * tokens)
    return Money(per_steps=money, per_million=per_million)


def price_of(
    place: Provenance,
    seconds: float,
    joules: float | None,
    prices: Prices | None,
    *,
    devices: int,
) -> float | None:
    """Price of `STEPS` steps: hours of all devices with their electricity, of one step's figures.

    ``None`` where the prices lack the device, or electricity is paid apart and was not measured.
    """
    price = None if prices is None else prices.of(place)
    if prices is None or price is None:
        return None
    if prices.electricity_per_kwh is None:
        return price * hours_of(seconds, devices)
    if joules is None:
        return None
    electricity = prices.electricity_per_kwh * prices.pue * kwh_of(joules)
    return price * hours_of(seconds, devices) + electricity


def cost_metric(prices: Prices) -> Metric:
    """Price of a million trained tokens, as a metric like any other: a figure for each replicate.

    It is valid where the time is and, where electricity is paid apart, the energy.
    """

    def pick(record: Record) -> float | None:
        return money_of(record, prices).per_million

    paid = ("time",) if prices.electricity_per_kwh is None else ("time", "energy")
    return Metric(
        name="cost",
        title="cost per million trained tokens",
        pick=pick,
        text=lambda money: f"{money:.3g} {prices.currency}",
        minimum=0.03,  # it follows time
        validity=paid,
        measure="cost",
        more="costs",
        missing=lambda record: money_of(record, prices).missing,
    )
