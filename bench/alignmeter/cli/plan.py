"""`alignmeter plan`: predicted memory, for hardware that need not be here."""

__all__ = ["plan"]

import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from alignmeter.analysis.chips import Peak, peak, peaks
from alignmeter.cells.axes import AXES
from alignmeter.cells.cell import Cell
from alignmeter.cells.matrix import expand, read_matrix, read_overrides
from alignmeter.cli.options import axis_options
from alignmeter.errors import InputError
from alignmeter.records.folder import PLAN_FILE, write_bytes
from alignmeter.records.prediction import Fit, Prediction, encode_predictions
from alignmeter.records.record import Reason
from alignmeter.registry import PLAN_ACCELERATOR, unused_axes
from alignmeter.units import bytes_text

_WIDTH = 78
_OWNERS_SHOWN = 5
_TOLD_APART = tuple(name for name in AXES if name not in ("accelerator", "data"))
"""Axes that may tell the rows of the table apart, in the order of a cell's id."""


@click.command()
@click.argument("matrix", default="plan")
@axis_options
@click.option("--for", "chips", metavar="CHIPS", help="H100-SXM,MI300X: chips (default: all).")
@click.option("--largest", is_flag=True, help="Also the largest batch and sequence that fit.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Also store it in DIR, for a report.")  # fmt: skip
def plan(
    matrix: str, chips: str | None, largest: bool, as_json: bool, out: Path | None,
    **axes: str | None,
) -> None:  # fmt: skip
    """Predict the peak memory of every cell of MATRIX, and where it fits.

    Nothing runs and no GPU is needed: the step itself is traced on tensors
    without data. Cells are planned for NVIDIA (--accelerator cuda) unless you
    say otherwise. Without MATRIX: 4 methods, 3 architectures, 3 PEFT modes
    at 8b.
    """
    chosen = read_matrix(matrix)
    overrides = read_overrides({**axes, "accelerator": axes.get("accelerator") or PLAN_ACCELERATOR})
    rows = _chips(chips)
    from alignmeter.cli.progress import counted
    from alignmeter.planner import NotPlannedError
    from alignmeter.session import resolve_plan

    found = []
    cells = resolve_plan(expand(chosen, overrides))
    with counted("planned", len(cells)) as advance:
        for planned in cells:
            try:
                _refuse(planned.unsupported)
                found.append(_predicted(planned.cell, rows, largest))
            except NotPlannedError as error:
                click.echo(f"{planned.cell.id}: not planned: {error}", err=True)
            else:
                if not as_json:
                    click.echo("\n".join([*_lines(found[-1]), ""]))
            advance()
    if out is not None and found:
        write_bytes(out / PLAN_FILE, encode_predictions(found))
    if as_json:
        click.echo(encode_predictions(found), nl=False)
    elif found:
        if len(found) > 1:
            _print_table(found, rows)
        click.echo(_footnote())
    if not found:
        click.echo("Nothing could be planned.", err=True)
        sys.exit(3)


def _refuse(reason: Reason | None) -> None:
    """What contradicts itself anywhere; what only this machine lacks can be planned."""
    from alignmeter.planner import NotPlannedError

    if reason is not None and reason.code in ("excluded", "impossible"):
        raise NotPlannedError(reason.text)


def _print_table(found: Sequence[Prediction], chips: Mapping[str, Peak]) -> None:
    """A row per cell: peak and the smallest chip that holds it."""
    from rich.console import Console
    from rich.table import Table

    varied = [name for name in _TOLD_APART if len({getattr(p.cell, name) for p in found}) > 1]
    table = Table("cell", "peak", "fits", "smallest that fits", box=None, pad_edge=False)
    table.columns[1].justify = table.columns[2].justify = "right"
    for planned in found:
        fitting = [name for name, fit in planned.fits.items() if fit.ok]
        least = min(fitting, key=lambda name: chips[name].memory_bytes or 0, default=None)
        colour = "red" if least is None else "green"
        table.add_row(
            " ".join(_axis_text(planned.cell, name) for name in varied) or planned.cell.id,
            bytes_text(planned.peak_bytes),
            f"{len(fitting)} of {len(planned.fits)}",
            f"[{colour}]{least or 'none'}[/]",
        )
    Console(width=min(_WIDTH, Console().width), highlight=False).print(table)
    click.echo()


def _axis_text(cell: Cell, name: str) -> str:
    """``full``, ``checkpointing on``; ``-`` for what changes nothing in the cell."""
    value = getattr(cell, name)
    if name in unused_axes(cell.method, cell.peft):
        return "-"
    if value in ("on", "off") or isinstance(value, int):
        return f"{name} {value}"
    return str(value)


def _chips(names: str | None) -> Mapping[str, Peak]:
    if names is None:
        return peaks()
    return {name: peak(name) for name in (part.strip() for part in names.split(",")) if name}


def _predicted(cell: Any, rows: Mapping[str, Peak], largest: bool) -> Prediction:
    from alignmeter.planner import fits, plan_cell

    prediction = plan_cell(cell)
    found = fits(prediction, rows)
    if largest:
        found = {name: _with_largest(cell, fit, rows[name]) for name, fit in found.items()}
    return msgspec.structs.replace(prediction, fits=found)


def _with_largest(cell: Any, fit: Fit, chip: Peak) -> Fit:
    from alignmeter.planner import largest_batch, largest_seq_len, plan_cell
    from alignmeter.session.resolve import resolve_cell

    def changed(axes: dict[str, int]) -> Prediction:
        return plan_cell(resolve_cell({**cell.axes(), **axes}).cell)

    memory = chip.memory_bytes
    if memory is None:
        raise InputError("a chip without memory cannot hold a batch")
    return msgspec.structs.replace(
        fit,
        batch=largest_batch(cell, memory, changed),
        seq_len=largest_seq_len(cell, memory, changed),
    )


def _lines(prediction: Prediction) -> Iterator[str]:
    yield click.style(prediction.cell.id, bold=True)
    where = f" in {prediction.peak_phase} ({prediction.peak_operator})"
    yield f"  peak    {bytes_text(prediction.peak_bytes)}{where}"
    rows = sorted(prediction.ledger.items(), key=lambda row: -row[1])[:_OWNERS_SHOWN]
    owners = (
        f"{name.removesuffix('_bytes').replace('_', ' ')} {bytes_text(count)}"
        for name, count in rows
        if count
    )
    yield from _wrapped("  ledger  ", ", ".join(owners), None)
    yes = [_fit_text(name, fit) for name, fit in prediction.fits.items() if fit.ok]
    no = [_fit_text(name, fit) for name, fit in prediction.fits.items() if not fit.ok]
    yield from _wrapped("  fits    ", ", ".join(yes) or "nowhere", "green" if yes else None)
    if no:
        yield from _wrapped("  misses  ", ", ".join(no), "red")


def _fit_text(name: str, fit: Fit) -> str:
    sign = "+" if fit.ok else "-"
    text = f"{name} {sign}{bytes_text(abs(fit.spare_bytes))}".replace(" ", "\N{NO-BREAK SPACE}")
    if fit.batch is None:
        return text
    return f"{text} (batch {fit.batch} or {fit.seq_len} tokens)".replace(" ", "\N{NO-BREAK SPACE}")


def _wrapped(head: str, text: str, colour: str | None) -> Iterator[str]:
    indent = " " * len(head)
    for number, line in enumerate(textwrap.wrap(text, _WIDTH - len(head), break_on_hyphens=False)):
        said = line.replace("\N{NO-BREAK SPACE}", " ")
        yield (indent if number else head) + (click.style(said, fg=colour) if colour else said)


def _footnote() -> str:
    from alignmeter.planner import ALLOWANCE

    context = bytes_text(ALLOWANCE.context_bytes)
    return (
        f"Fits: peak + {ALLOWANCE.fragmentation:.0%} for fragmentation + {context} for the\n"
        "runtime, against the chip's memory. A prediction, checked against a CPU's\n"
        "allocator (docs/plan.md) and not yet against a GPU's."
    )
