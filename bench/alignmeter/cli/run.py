"""`alignmeter run`: a whole matrix, a folder of records, a report."""

__all__ = ["run"]

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alignmeter.cells.matrix import read_matrix, read_overrides
from alignmeter.cells.settings import Settings, read_settings
from alignmeter.cli.ending import end_on_sigterm
from alignmeter.cli.options import axis_options, data_options, measure_options, note
from alignmeter.cli.several_machines import serves_another
from alignmeter.records.folder import default_folder
from alignmeter.streams import tell
from alignmeter.text import counted as counted_text
from alignmeter.units import seconds_text

if TYPE_CHECKING:  # they import torch, for which --help should not wait
    from alignmeter.runs.opened import OpenRun
    from alignmeter.session import Planned


@click.command()
@click.argument("matrix", default="quick")
@axis_options
@data_options
@measure_options
@click.option("--replicates", type=click.IntRange(1), default=1, show_default=True, metavar="N",
              help="Fresh processes per cell; an interval needs 3.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Folder of the records (default results/<date-time>).")  # fmt: skip
@click.option(
    "--dry-run",
    is_flag=True,
    help="List the cells with their planned memory and the time they took here before.",
)
@click.option("--retry-invalid/--no-retry-invalid", default=True, show_default=True,
              help="Where a run goes on: measure again what is invalid for a temporary reason, "
              "such as a busy host.")  # fmt: skip
@click.option("--no-plan", is_flag=True,
              help="Predict no memory first, and try what would not fit.")  # fmt: skip
def run(
    matrix: str,
    given: dict[str, Any],
    bad_rows: str,
    replicates: int,
    out: Path | None,
    dry_run: bool,
    retry_invalid: bool,
    no_plan: bool,
    **axes: str | None,
) -> None:
    """Measure every cell of MATRIX, a packaged one or a TOML file.

    An axis option replaces that axis in the whole matrix; several values are
    separated by commas: --method dpo,ppo --architecture llama.

    Packaged: bill, capacity, delta, delta8b, gpu-nightly, hybrids, methods,
    plan, plan-devices, quick, rollouts, scaling.

    Ctrl-C stops; the same command with the same --out goes on where it
    stopped.
    """
    if serves_another():
        return
    chosen = read_matrix(matrix)
    overrides = read_overrides(axes)
    settings = read_settings(given, chosen)
    from alignmeter.accelerators.provenance import command_line
    from alignmeter.runs.opened import open_run
    from alignmeter.session import plan_matrix

    plan = plan_matrix(chosen, overrides, note, bad_rows=bad_rows)
    if dry_run:
        from alignmeter.cli.dry_run import list_cells

        list_cells(plan if no_plan else _forecast(plan), replicates, out)
        return
    _check_any(plan)
    folder, command = out or default_folder(), command_line()
    opening = open_run(folder, matrix=chosen.name, axes=overrides, command=command)
    with opening as opened, _told_how_to_go_on(folder):
        start = time.monotonic()
        if not no_plan:
            plan = _forecast(plan)
        _measure(opened, plan, settings, replicates, retry_invalid=retry_invalid)
        _conclude(opened, time.monotonic() - start)


def _check_any(plan: "Sequence[Planned]") -> None:
    """End where no cell can be measured here: each reason once, in place of a record for each."""
    reasons = [planned.unsupported.text for planned in plan if planned.unsupported is not None]
    if len(reasons) < len(plan):
        return
    for text, count in Counter(reasons).items():
        tell(f"{counted_text(count, 'cell')}: {text}")
    tell("Nothing can be measured.")
    raise click.exceptions.Exit(3)


def _forecast(plan: "Sequence[Planned]") -> "list[Planned]":
    from alignmeter.cli.progress import counted
    from alignmeter.planner.forecast import forecast

    with counted("planning", len(plan)) as planned:
        return forecast(plan, planned.tell, planned)


def _measure(
    opened: "OpenRun", plan: "Sequence[Planned]", settings: Settings, replicates: int, *,
    retry_invalid: bool,
) -> None:  # fmt: skip
    from alignmeter.cli.progress import Progress

    with Progress(total=len(plan) * replicates) as progress:
        opened.resume(
            plan, settings, replicates=replicates, listener=progress, retry_invalid=retry_invalid
        )


@contextlib.contextmanager
def _told_how_to_go_on(folder: Path) -> Iterator[None]:
    """Ctrl-C is answered at once: to end the workers may take seconds."""
    end_on_sigterm()
    try:
        yield
    except KeyboardInterrupt:
        said = f"Stopped. Finished records are in {folder}."
        tell(f"\n{said}\nTo go on: the same command with --out {folder}")
        raise KeyboardInterrupt(said) from None


def _conclude(opened: "OpenRun", seconds: float) -> None:
    from alignmeter.cli.progress import counted
    from alignmeter.terminal.summary import summary_parts
    from alignmeter.terminal.tables import print_parts

    with counted("drawing the report", None):
        html, csv = opened.report()
    click.echo()
    print_parts(summary_parts(opened.records))
    click.echo(f"measured in {seconds_text(seconds)}\n\nHTML  {html}\nCSV   {csv}")
    if not any(record.status == "ok" for record in opened.records):
        tell("Nothing could be measured; the report gives the reasons.")
        raise click.exceptions.Exit(3)
