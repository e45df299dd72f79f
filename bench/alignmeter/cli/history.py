"""`alignmeter history`: when did it change, and why?"""

__all__ = ["history"]

from datetime import datetime
from pathlib import Path

import click
import msgspec

from alignmeter.analysis.metrics import METRICS
from alignmeter.errors import InputError, known
from alignmeter.streams import tell


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--metric", metavar="NAMES",
              help=f"Only these, by comma ({known(METRICS)}; default: all).")  # fmt: skip
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE",
              help="List only changes from this day on (UTC), such as 2026-01-31.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of tables.")
@click.option("--fail-on-change", is_flag=True, help="Exit status 1 if a change is listed.")
def history(
    folder: Path, metric: str | None, since: datetime | None, as_json: bool, fail_on_change: bool
) -> None:
    """Find changes over the runs in DIR, which holds their folders.

    A run is a folder that `alignmeter run` wrote. For each change: the run,
    the commit, what else differs from the run before, and whether all nodes
    changed or one. It takes 3 runs on each side; memory takes one.

    Exit status: 0 done, 1 a change with --fail-on-change, 2 wrong usage,
    a folder without records, or a file that is no record.
    """
    from alignmeter.analysis import history as histories
    from alignmeter.terminal.history import history_parts
    from alignmeter.terminal.tables import print_parts

    refused: list[str] = []
    series = histories.read_series(folder, refused, _metrics(metric))
    for sentence in refused:
        tell(f"Error: {sentence}")
    if not series:
        raise InputError(f"no figures in {folder}; give a folder that holds runs")
    found = histories.history(series)
    if since is not None:
        day = since.date().isoformat()
        changes = [change for change in found.changes if change.started >= day]
        found = msgspec.structs.replace(found, changes=changes)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=1))
    else:
        print_parts(history_parts(found))
    if fail_on_change and found.changes:
        raise click.exceptions.Exit(1)
    if refused:
        raise click.exceptions.Exit(2)


def _metrics(text: str | None) -> list[str]:
    names = [] if text is None else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in METRICS:
            raise InputError(f"--metric: {name!r} is not a metric; {known(METRICS)}")
    return list(dict.fromkeys(names))
