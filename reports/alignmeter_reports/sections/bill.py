"""What recipes cost as a whole, from a base model to an aligned one."""

__all__ = ["BillRow", "bill_rows"]

from collections.abc import Sequence
from dataclasses import dataclass

from alignmeter.analysis.bill import Bill, Stage, recipe_text
from alignmeter.analysis.cost import devices_of, price_of
from alignmeter.analysis.intervals import Estimate
from alignmeter.analysis.prices import Prices
from alignmeter.cells.labels import cell_text, layout_text, spelled

_HOUR_S = 3600
_KWH_J = 3.6e6


@dataclass(frozen=True, kw_only=True, slots=True)
class BillRow:
    """One recipe in one place. ``hours``, ``kwh``, ``money``: of 1000 steps of every stage.

    ``stage``: the one that needs most memory, ``models`` are those that lie in it then.
    """

    recipe: str
    cell: str
    device: str
    kind: str
    peak_bytes: int
    stage: str
    models: tuple[str, ...]
    hours: Estimate | None
    kwh: float | None
    money: float | None


def bill_rows(bills: Sequence[Bill], prices: Prices | None) -> list[BillRow]:
    """In the order of the bills."""
    return [_row(bill, prices) for bill in bills]


def _row(bill: Bill, prices: Prices | None) -> BillRow:
    largest, last = bill.largest, bill.stages[-1].group.cell
    layouts = (layout_text(stage.group.cell) for stage in bill.stages)
    energy = bill.energy
    return BillRow(
        recipe=recipe_text(bill.recipe),
        cell=", ".join([cell_text(last, without=("method", "layout")), *filter(None, layouts)]),
        device=bill.device,
        kind=largest.kind,
        peak_bytes=largest.peak_bytes,
        stage=spelled("method", largest.method),
        models=largest.models,
        hours=_hours(bill.time, max(map(_devices, bill.stages))),
        kwh=None if energy is None else energy.value / _KWH_J,
        money=_money(bill, prices),
    )


def _devices(stage: Stage) -> int:
    return max(map(devices_of, stage.group.records))


def _hours(time: Estimate | None, devices: int) -> Estimate | None:
    """Device-hours: the stages of a bill are alike in how many devices they take."""
    if time is None:
        return None
    low, high = (
        None if bound is None else devices * bound / _HOUR_S for bound in (time.low, time.high)
    )
    return Estimate(value=devices * time.value / _HOUR_S, low=low, high=high, n=time.n)


def _money(bill: Bill, prices: Prices | None) -> float | None:
    """``None`` where a price, a time or an energy that is paid apart is missing."""
    total = 0.0
    for stage in bill.stages:
        place = stage.group.records[0].provenance
        joules = None if stage.energy is None else stage.energy.value
        seconds = None if stage.time is None else stage.time.value
        if seconds is None:
            return None
        found = price_of(place, seconds, joules, prices, devices=_devices(stage))
        if found is None:
            return None
        total += found
    return total
