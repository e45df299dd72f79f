"""Which chip to take for what a plan says: the cheapest that holds it, or what misses by least."""

__all__ = ["Offer", "best_offer", "nearest_miss"]

from collections.abc import Mapping
from dataclasses import dataclass

from alignmeter.analysis.chips import peaks
from alignmeter.analysis.prices import Prices
from alignmeter.records.prediction import Fit


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """A chip that holds a cell. ``per_hour``: its price, ``None`` where none was given."""

    chip: str
    per_hour: float | None


def best_offer(fits: Mapping[str, Fit], prices: Prices | None) -> Offer | None:
    """The cheapest chip of those that fit and have a price, else the smallest that fits.

    Of equal ones the first of the peaks table. ``None``: it fits nowhere.
    """
    chips = [chip for chip in peaks() if chip in fits and fits[chip].ok]
    rates = {} if prices is None else {chip: prices.of_chip(chip) for chip in chips}
    priced = {chip: rate for chip, rate in rates.items() if rate is not None}
    if priced:
        chip = min(priced, key=lambda name: (priced[name], _memory(name)))
        return Offer(chip=chip, per_hour=priced[chip])
    return Offer(chip=min(chips, key=_memory), per_hour=None) if chips else None


def nearest_miss(fits: Mapping[str, Fit]) -> str | None:
    """The chip that lacks fewest bytes. ``None``: it fits everywhere."""
    misses = {chip: fit.spare_bytes for chip, fit in fits.items() if not fit.ok}
    return max(misses, key=misses.__getitem__, default=None)


def _memory(chip: str) -> int:
    return peaks()[chip].memory_bytes or 0
