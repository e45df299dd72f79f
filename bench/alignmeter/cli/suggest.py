"""`alignmeter plan --suggest`: three answers for one cell, each told as soon as it is known."""

__all__ = ["check_one", "suggested"]

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from alignmeter.analysis.chips import Peak, peaks
from alignmeter.analysis.offers import best_offer, nearest_miss
from alignmeter.analysis.prices import Prices
from alignmeter.errors import InputError
from alignmeter.records.prediction import Prediction
from alignmeter.records.suggestion import Box, Lever, Suggestion

if TYPE_CHECKING:
    from alignmeter.cli.progress import Counted
    from alignmeter.terminal.tables import Part


def check_one(cells: int) -> None:
    """Raises `InputError` for more than one cell."""
    if cells != 1:
        raise InputError(
            f"--suggest is for one cell, and these are {cells}; name one --method, one --peft, and "
            "one --model or one --architecture and --size"
        )


def suggested(
    prediction: Prediction, asked: Mapping[str, Peak] | None, prices: Prices | None, *, shows: bool
) -> Suggestion:
    """Find it, and print each line when it is known if ``shows``. ``asked``: ``None`` for all.

    ``prediction`` has its fits on those asked for.
    """
    from alignmeter.cli.progress import counted
    from alignmeter.planner import fits
    from alignmeter.terminal.suggestion import box_parts, change_parts, chip_parts, longest_parts

    offer, miss = best_offer(prediction.fits, prices), nearest_miss(prediction.fits)
    everywhere = prediction.fits if miss is not None else fits(prediction, peaks())
    target = miss or nearest_miss(everywhere)
    lacks = 0 if target is None else -everywhere[target].spare_bytes
    currency = None if prices is None else prices.currency
    with counted("planned", None) as count:
        said = _Said(count, shows=shows)
        said.tell(chip_parts(prediction, offer, miss, currency))
        named = offer.chip if offer is not None else miss
        boxes = list(asked) if asked is not None else [named] if named is not None else []
        longest = {chip: _longest(prediction, chip, count) for chip in boxes}
        said.tell(longest_parts(longest))
        levers = [] if target is None else _levers(prediction, target, count)
        said.tell(change_parts(target, lacks, levers, said.lines))
        boxes_of = _boxes(prediction, peaks() if asked is None else asked, prices, count)
        said.tell(box_parts(boxes_of, currency))
    return Suggestion(
        chip=None if offer is None else offer.chip,
        per_hour=None if offer is None else offer.per_hour,
        currency=currency,
        longest=longest,
        target=target,
        misses_bytes=lacks,
        levers=levers,
        boxes=boxes_of,
    )


class _Said:
    """What was printed so far, in ``lines``."""

    def __init__(self, count: "Counted", *, shows: bool) -> None:
        self.lines = 0
        self._count, self._shows = count, shows

    def tell(self, parts: "Iterable[Part]") -> None:
        """Print them, the bar out of their way."""
        from alignmeter.terminal.tables import lines, print_parts

        if self._shows:
            every = list(parts)
            self.lines += len(lines(every))
            with self._count.aside():
                print_parts(every)


def _longest(prediction: Prediction, chip: str, count: "Counted") -> int | str:
    from alignmeter.planner import longest_on

    return longest_on(prediction.cell, peaks()[chip], count)


def _boxes(
    prediction: Prediction, chips: Mapping[str, Peak], prices: Prices | None, count: "Counted"
) -> list[Box]:
    """The cell on more devices; one without a plan is told."""
    from alignmeter.planner import NotPlannedError, box_cells, boxed

    if prediction.cell.world_size > 1:
        return []
    found = []
    for cell in box_cells(prediction.cell):
        try:
            found.append(boxed(cell, chips, prices))
        except NotPlannedError as error:
            count.tell(f"{cell.world_size} devices: not planned: {error}")
        count()
    return found


def _levers(prediction: Prediction, target: str, count: "Counted") -> list[Lever]:
    """Those that save anything, most saved first; one without a plan is told."""
    from alignmeter.planner import NotPlannedError, lever_cells, pulled

    found = []
    for axis, value, cell in lever_cells(prediction.cell):
        try:
            found.append(pulled(prediction, axis, value, cell, target=target))
        except NotPlannedError as error:
            count.tell(f"{axis}={value}: not planned: {error}")
        count()
    levers = [lever for lever in found if lever is not None]
    return sorted(levers, key=lambda lever: -lever.saves_bytes)
