"""`alignmeter run`: a whole matrix, a folder of records, a report."""

__all__ = ["run"]

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alignmeter.cells.matrix import read_matrix, read_overrides
from alignmeter.cells.settings import Settings, read_settings
from alignmeter.cli.options import axis_options, data_options, measure_options, note
from alignmeter.records.folder import default_folder
from alignmeter.streams import tell
from alignmeter.units import seconds_text

if TYPE_CHECKING:  # they import torch, for which --help should not wait
    from alignmeter.runs.opened import OpenRun
    from alignmeter.session import Planned


@click.command()
@click.argument("matrix", default="quick")
@axis_options
@data_options
@measure_options
@click.option("--replicates", type=click.IntRange(1), default=1, show_default=True,
              help="Fresh processes per cell; an interval needs 3.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Folder of the records (default results/<date-time>).")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="List the cells and stop.")
@click.option("--no-plan", is_flag=True,
              help="Predict no memory first, and try what would not fit.")  # fmt: skip
def run(
    matrix: str,
    given: dict[str, Any],
    bad_rows: str,
    replicates: int,
    out: Path | None,
    dry_run: bool,
    no_plan: bool,
    **axes: str | None,
) -> None:
    """Measure every cell of MATRIX: a packaged one (quick) or a TOML file.

    An axis option replaces that axis in the whole matrix; several values are
    separated by commas: --method dpo,ppo --architecture llama.

    Ctrl-C stops; the same command with the same --out goes on where it
    stopped.
    """
    chosen = read_matrix(matrix)
    overrides = read_overrides(axes)
    settings = read_settings(given, chosen)
    from alignmeter.accelerators.provenance import command_line
    from alignmeter.runs.opened import open_run
    from alignmeter.session import plan_matrix

    plan = plan_matrix(chosen, overrides, note, bad_rows=bad_rows)
    if dry_run:
        for planned in plan:
            reason = planned.unsupported
            click.echo(planned.cell.id + (f"  unsupported: {reason.text}" if reason else ""))
        return
    folder, command = out or default_folder(), command_line()
    with open_run(folder, matrix=chosen.name, axes=overrides, command=command) as opened:
        start = time.monotonic()
        if not no_plan:
            plan = _forecast(opened, plan)
        _measure(opened, plan, settings, replicates)
        _conclude(opened, time.monotonic() - start)


def _forecast(opened: "OpenRun", plan: "Sequence[Planned]") -> "list[Planned]":
    from alignmeter.cli.progress import counted

    with counted("planning", len(plan)) as planned:
        return opened.forecast(plan, planned.tell, planned)


def _measure(
    opened: "OpenRun", plan: "Sequence[Planned]", settings: Settings, replicates: int
) -> None:
    from alignmeter.cli.progress import Progress

    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with Progress(total=len(plan) * replicates) as progress:
            opened.resume(plan, settings, replicates=replicates, listener=progress)
    except KeyboardInterrupt:
        tell(
            f"\nStopped. Finished records are in {opened.folder}; "
            f"the same command with --out {opened.folder} goes on."
        )
        raise


def _interrupt(*_: object) -> None:
    """SIGTERM as Ctrl-C, also where a shell made us ignore SIGINT (``alignmeter run &``)."""
    raise KeyboardInterrupt


def _conclude(opened: "OpenRun", seconds: float) -> None:
    from alignmeter.terminal.summary import summary_parts
    from alignmeter.terminal.tables import print_parts

    html, csv = opened.report()
    click.echo()
    print_parts(summary_parts(opened.records))
    click.echo(f"measured in {seconds_text(seconds)}\n\nHTML  {html}\nCSV   {csv}")
    if not any(record.status == "ok" for record in opened.records):
        tell("Nothing could be measured; the report gives the reasons.")
        raise click.exceptions.Exit(3)
