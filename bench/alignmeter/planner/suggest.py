"""What a cell could be given: the longest sequence on a chip, and levers with what each saves."""

__all__ = ["boxed", "longest_on", "plans_on", "pulled"]

from collections.abc import Callable, Mapping

from alignmeter.analysis.chips import Peak, peak
from alignmeter.analysis.offers import best_offer
from alignmeter.analysis.prices import Prices
from alignmeter.cells.axes import AxisValue
from alignmeter.cells.cell import Cell
from alignmeter.planner.fit import Plan, fits, largest_seq_len, on_chip
from alignmeter.planner.levers import changed_cell
from alignmeter.planner.store import plan_peak
from alignmeter.planner.trace import NotPlannedError
from alignmeter.records.prediction import Prediction
from alignmeter.records.suggestion import Box, Lever


def plans_on(cell: Cell, chip: Peak, planned: Callable[[], None] = lambda: None) -> Plan:
    """Plans of the cell with axes changed, for that chip; ``planned`` is called after each."""

    def plan(axes: dict[str, int]) -> Prediction:
        found = plan_peak(changed_cell(cell, **axes).cell)
        planned()
        return on_chip(found, chip.arch)

    return plan


def longest_on(cell: Cell, chip: Peak, planned: Callable[[], None]) -> int | str:
    """The longest T that fits there, 0 if none does, or why it cannot be planned."""
    if chip.memory_bytes is None:
        return "its memory is not known"
    try:
        return largest_seq_len(cell, chip.memory_bytes, plans_on(cell, chip, planned))
    except NotPlannedError as error:
        return str(error)


def boxed(cell: Cell, chips: Mapping[str, Peak], prices: Prices | None) -> Box:
    """The cell of several devices on the chips asked for. Raises what `plan_peak` raises."""
    found, size = plan_peak(cell), cell.world_size
    offer = best_offer(fits(found, chips), prices)
    rate = None if offer is None else offer.per_hour
    return Box(
        devices=size,
        cell=cell,
        peak_bytes=found.peak_bytes,
        chip=None if offer is None else offer.chip,
        per_hour=None if rate is None else size * rate,
    )


def pulled(
    prediction: Prediction, axis: str, value: AxisValue, cell: Cell, *, target: str
) -> Lever | None:
    """The lever, if it saves anything of ``prediction``. Raises what `plan_peak` raises."""
    found = plan_peak(cell)
    saves = prediction.peak_bytes - found.peak_bytes
    if saves <= 0:
        return None
    return Lever(
        axis=axis,
        value=value,
        cell=cell,
        peak_bytes=found.peak_bytes,
        saves_bytes=saves,
        fits=fits(found, {target: peak(target)})[target].ok,
    )
