"""`alignmeter run`: a whole matrix, a folder of records, a report."""

__all__ = ["run"]

import signal
import time
from pathlib import Path
from typing import Any

import click

from alignmeter.cells.matrix import Matrix, expand, read_matrix, read_overrides
from alignmeter.cli.options import axis_options, measure_options
from alignmeter.records.folder import Loaded, default_folder, record_path, write_run_file
from alignmeter.records.lock import locked
from alignmeter.records.record import Record
from alignmeter.units import seconds_text


@click.command()
@click.argument("matrix", default="quick")
@axis_options
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
    steps: int | None,
    warmup: int | None,
    seed: int,
    timeout: float,
    operators: bool,
    sample_hz: float,
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
    from alignmeter.accelerators.provenance import command_line
    from alignmeter.session import Settings, resolve_plan

    plan = resolve_plan(expand(chosen, overrides))
    if dry_run:
        for planned in plan:
            reason = planned.unsupported
            click.echo(planned.cell.id + (f"  unsupported: {reason.text}" if reason else ""))
        return
    folder = out or default_folder()
    settings = Settings(
        steps=steps or chosen.steps,
        warmup=warmup or _warmup(chosen),
        seed=seed,
        timeout_s=timeout,
        operators=operators or chosen.operators,
        sample_hz=sample_hz,
    )
    with locked(folder):
        write_run_file(folder, chosen.name, overrides, command_line())
        start = time.monotonic()
        if not no_plan:
            plan = _forecast(plan)
        records = _measure(plan, folder, settings, replicates)
        _conclude(records, folder, time.monotonic() - start)


def _forecast(plan: Any) -> Any:
    from alignmeter.cli.progress import counted
    from alignmeter.planner.forecast import forecast

    with counted("planning", len(plan)) as planned:
        return forecast(plan, lambda text: click.echo(text, err=True), planned)


def _warmup(matrix: Matrix) -> int:
    """At least one: it brings the optimizer's state into being."""
    return max(matrix.warmup, 1)


def _measure(plan: Any, folder: Path, settings: Any, replicates: int) -> list[Record]:
    from alignmeter.cli.progress import Progress
    from alignmeter.session import run_matrix
    from alignmeter.session.launcher import Launcher

    signal.signal(signal.SIGTERM, _interrupt)
    launcher = Launcher()
    try:
        with Progress(total=len(plan) * replicates) as progress:
            return run_matrix(
                plan,
                folder,
                settings,
                replicates=replicates,
                launcher=launcher,
                listener=progress,
            )
    except KeyboardInterrupt:
        click.echo(
            f"\nStopped. Finished records are in {folder}; "
            f"the same command with --out {folder} goes on.",
            err=True,
        )
        raise
    finally:
        launcher.close()


def _interrupt(*_: object) -> None:
    """SIGTERM as Ctrl-C, also where a shell made us ignore SIGINT (``alignmeter run &``)."""
    raise KeyboardInterrupt


def _conclude(records: list[Record], folder: Path, seconds: float) -> None:
    from alignmeter.terminal.summary import summary_parts
    from alignmeter.terminal.tables import print_parts
    from alignmeter_reports import write_report

    html, csv = folder / "report.html", folder / "report.csv"
    paths = [record_path(folder, record.cell.id, record.replicate) for record in records]
    write_report(Loaded(records=records, refused=[], paths=paths), html, csv)
    click.echo()
    print_parts(summary_parts(records))
    click.echo(f"measured in {seconds_text(seconds)}\n\nHTML  {html}\nCSV   {csv}")
    if not any(record.status == "ok" for record in records):
        click.echo("Nothing could be measured; the report gives the reasons.", err=True)
        raise click.exceptions.Exit(3)
