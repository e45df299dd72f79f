"""`alignmeter cell`: one replicate, one record."""

__all__ = ["cell"]

from pathlib import Path
from typing import Any

import click
import msgspec

from alignmeter.cells.axes import PATHS, AxisValue
from alignmeter.cells.cell import Cell
from alignmeter.cells.matrix import read_overrides
from alignmeter.cells.settings import Settings, read_settings
from alignmeter.cli.ending import end_on_sigterm
from alignmeter.cli.options import axis_options, data_options, measure_options, note
from alignmeter.cli.several_machines import serves_another
from alignmeter.errors import InputError
from alignmeter.records.folder import check_writable, record_path, write_record
from alignmeter.streams import tell


@click.command()
@click.argument("spec", required=False, metavar="[SPEC.json]")
@axis_options
@data_options
@measure_options
@click.option("--replicate", type=click.IntRange(0), default=0, show_default=True, metavar="N",
              help="Number of the replicate.")  # fmt: skip
@click.option("--run", default="", metavar="NAME", envvar="ALIGNMETER_RUN",
              help="What the jobs of one night have in common: their replicates belong together "
              "(or ALIGNMETER_RUN).")  # fmt: skip
@click.option("--jobs", type=click.Path(path_type=Path), metavar="FILE",
              help="Measure the cells of a job of `alignmeter lab` instead.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("results"),
              show_default=True, metavar="DIR", help="Folder of the record.")  # fmt: skip
def cell(
    spec: str | None,
    given: dict[str, Any],
    bad_rows: str,
    replicate: int,
    run: str,
    jobs: Path | None,
    out: Path,
    **axes: str | None,
) -> None:
    """Measure one cell once and print the path of its record.

    The cell comes from axis options, or from SPEC.json: the `cell` object of
    a record. A scheduler runs this command once per job. Say with --data,
    --model, --reward and --teacher where its files are on this machine;
    otherwise they are looked for in SPEC.json's folder and in the working
    directory.
    """
    if serves_another():
        return
    settings, named = read_settings(given), _one_value_each(axes)
    if jobs is not None:
        _check_alone()
        _work(jobs)
        return
    wanted = None if spec is None else _read_spec(spec, named)
    from alignmeter.session.asked import resolve_as
    from alignmeter.session.resolve import input_notes, notes_on, resolve_cell

    if spec is None or wanted is None:
        planned = resolve_cell(named, bad_rows=bad_rows)
        for sentence in notes_on(named, planned.cell):
            note(sentence)
    else:
        planned = resolve_as(wanted, spec, Path(spec).parent, named, bad_rows=bad_rows)
    for sentence in input_notes([planned]):
        note(sentence)
    check_writable(record_path(out, planned.cell.id, replicate))
    finished = _measured(planned, replicate, settings).of_run(run)
    record = finished.record
    # No `open_run`: many jobs fill one folder at once, so none may lock it, and no run file speaks
    # for them all. Each record has a name of its own, and is written whole or not at all.
    click.echo(write_record(out, record, finished.timeline))
    if record.status != "ok":
        why = f"{record.reason.code}: {record.reason.text}" if record.reason else ""
        tell(f"{record.status}: {why}")
        raise click.exceptions.Exit(3)


def _work(jobs: Path) -> None:
    """Each cell of the job that has no record yet."""
    from alignmeter.lab.work import work

    end_on_sigterm()
    outcome = work(jobs)
    for text in (*outcome.refused, *outcome.failed.values()):
        tell(text)
    if outcome.refused:
        raise click.exceptions.Exit(3)


def _measured(planned: Any, replicate: int, settings: Settings) -> Any:
    from alignmeter.session import measure
    from alignmeter.session.launcher import Launcher
    from alignmeter.session.nodes import open_nodes

    with open_nodes() as others, Launcher(others) as launcher:
        launcher.begin_round(replicate)
        return measure(planned, replicate, settings, launcher)


def _one_value_each(axes: dict[str, str | None]) -> dict[str, AxisValue]:
    named: dict[str, AxisValue] = {}
    for name, values in read_overrides(axes).items():
        if len(values) != 1:
            raise InputError(f"one cell has one {name}; got {', '.join(map(str, values))}")
        named[name] = values[0]
    return named


def _check_alone() -> None:
    """A job says all of it: raise `InputError` for whatever else was given on the command line."""
    context = click.get_current_context()
    for name in context.params:
        source = context.get_parameter_source(name)
        if name != "jobs" and source is click.core.ParameterSource.COMMANDLINE:
            what = "SPEC.json" if name == "spec" else f"--{name.replace('_', '-')}"
            raise InputError(f"{what} is given beside --jobs; leave it out, a job says it")


def _read_spec(spec: str, named: dict[str, AxisValue]) -> Cell:
    more = named.keys() - PATHS.keys()
    if more:
        raise InputError(f"give SPEC.json or axis options, not both ({', '.join(sorted(more))})")
    try:
        return msgspec.json.decode(Path(spec).read_bytes(), type=Cell)
    except OSError as error:
        raise InputError(f"{spec}: cannot be read: {error.strerror or error}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputError(f"{spec}: not the `cell` object of a record: {error}") from error
