"""`alignmeter plan`: predicted memory, for hardware that need not be here."""

__all__ = ["plan"]

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from alignmeter.analysis.chips import Peak, chips_named, peak, peaks
from alignmeter.analysis.prices import Prices, read_prices
from alignmeter.cells.cell import Cell
from alignmeter.cells.matrix import read_matrix, read_overrides
from alignmeter.cli.options import axis_options, data_options, note
from alignmeter.cli.suggest import check_one, suggested
from alignmeter.errors import InputError
from alignmeter.records.folder import PLAN_FILE, check_writable, write_bytes
from alignmeter.records.prediction import Fit, NotPlanned, Prediction, encode_predictions
from alignmeter.registry import PLAN_ACCELERATOR
from alignmeter.streams import tell

if TYPE_CHECKING:
    from alignmeter.session.resolve import Planned


@click.command()
@click.argument("matrix", default="plan")
@axis_options
@data_options
@click.option("--for", "chips", metavar="CHIPS",
              help="Chips, or how their names begin: H100,MI300X (default: all).")  # fmt: skip
@click.option("--prices", type=click.Path(path_type=Path), metavar="FILE",
              help="TOML with the price of an hour of each chip, as of a report.")  # fmt: skip
@click.option("--largest", is_flag=True, help="Also the largest batch and sequence that fit.")
@click.option("--suggest", is_flag=True,
              help="Of one cell: the cheapest chip, the longest sequence on it or on those of "
              "--for, and what would make it fit where it does not.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Also store it in DIR, for a report.")  # fmt: skip
def plan(
    matrix: str, bad_rows: str, chips: str | None, prices: Path | None, largest: bool,
    suggest: bool, as_json: bool, out: Path | None, **axes: str | None,
) -> None:  # fmt: skip
    """Predict the peak memory of every cell of MATRIX, and where it fits.

    Nothing runs and no GPU is needed: the step itself is traced on tensors
    without data. Of a --model its config.json is enough. Cells are planned
    for NVIDIA (--accelerator cuda) unless you say otherwise. Without MATRIX:
    4 methods, 3 architectures, 3 PEFT modes at 8b.
    """
    chosen = read_matrix(matrix)
    overrides = read_overrides({**axes, "accelerator": axes.get("accelerator") or PLAN_ACCELERATOR})
    rows = _chips(chips)
    rates = None if prices is None else read_prices(prices)
    for sentence in () if rates is None else rates.unknown():
        note(f"{prices}: {sentence}")
    from alignmeter.architectures.checkpoint import configs_alone
    from alignmeter.planner import plan_cell, plan_peak
    from alignmeter.session import plan_matrix

    if out is not None:
        check_writable(out / PLAN_FILE)
    with configs_alone():
        cells = plan_matrix(chosen, overrides, note, bad_rows=bad_rows)
        if suggest:
            check_one(len(cells))
        shows = not (as_json or suggest)
        how = plan_peak if suggest else plan_cell
        found, not_planned = _each(cells, rows, how, largest=largest, shows=shows)
        suggestion = None
        if suggest and found:
            asked = None if chips is None else rows
            suggestion = suggested(found[0], asked, rates, shows=not as_json)
    document = encode_predictions(found, not_planned, suggestion)
    if out is not None:
        write_bytes(out / PLAN_FILE, document)
    if as_json:
        click.echo(document, nl=False)
    elif found and not suggest:
        _conclude(found, rates)
    if not found:
        tell("Nothing could be planned.")
        raise click.exceptions.Exit(3)


def _each(
    cells: "Sequence[Planned]", rows: Mapping[str, Peak], how: Callable[[Cell], Prediction], *,
    largest: bool, shows: bool,
) -> tuple[list[Prediction], list[NotPlanned]]:  # fmt: skip
    """A plan of each cell, or why there is none; ``shows``: they are told as they come.

    ``how``: what makes a cell's own plan.
    """
    from alignmeter.cli.progress import counted
    from alignmeter.planner import NotPlannedError
    from alignmeter.terminal.plan import plan_parts
    from alignmeter.terminal.tables import print_parts

    found: list[Prediction] = []
    not_planned: list[NotPlanned] = []
    with counted("planned", len(cells)) as advance:
        for planned in cells:
            try:
                if planned.contradiction is not None:
                    raise NotPlannedError(planned.contradiction.text)
                found.append(_predicted(how(planned.cell), rows, largest))
            except NotPlannedError as error:
                not_planned.append(NotPlanned(cell=planned.cell, reason=str(error)))
                advance.tell(f"{planned.cell.id}: not planned: {error}")
            else:
                if shows:
                    with advance.aside():
                        print_parts(plan_parts(found[-1]))
            advance()
    return found, not_planned


def _conclude(found: Sequence[Prediction], prices: Prices | None) -> None:
    """All cells in one table where there are several, and what the figures are worth."""
    from alignmeter.planner import ALLOWANCE
    from alignmeter.terminal.plan import allowance_text, plans_parts
    from alignmeter.terminal.tables import print_parts

    several = plans_parts(found, prices) if len(found) > 1 else ()
    context_bytes, gaps = ALLOWANCE.context_bytes, ALLOWANCE.fragmentation
    print_parts([*several, allowance_text(fragmentation=gaps, context_bytes=context_bytes)])


def _chips(names: str | None) -> Mapping[str, Peak]:
    if names is None:
        return peaks()
    wanted = [part for part in map(str.strip, names.split(",")) if part]
    if not wanted:
        raise InputError("--for names no chip; give one such as H100-SXM, or leave it out for all")
    return {name: peak(name) for part in wanted for name in chips_named(part)}


def _predicted(prediction: Prediction, rows: Mapping[str, Peak], largest: bool) -> Prediction:
    from alignmeter.planner import NotPlannedError, fits

    cell, found = prediction.cell, fits(prediction, rows)
    if largest:
        try:
            found = {name: _with_largest(cell, fit, rows[name]) for name, fit in found.items()}
        except NotPlannedError as error:  # larger ones have no plan; the cell's own stands
            tell(f"{cell.id}: no largest batch or sequence: {error}")
    return msgspec.structs.replace(prediction, fits=found)


def _with_largest(cell: Cell, fit: Fit, chip: Peak) -> Fit:
    from alignmeter.planner import largest_batch, largest_seq_len, plans_on

    memory = chip.memory_bytes
    if memory is None:
        raise InputError("a chip without memory cannot hold a batch")
    plans = plans_on(cell, chip)
    return msgspec.structs.replace(
        fit,
        batch=largest_batch(cell, memory, plans),
        seq_len=largest_seq_len(cell, memory, plans),
    )
