"""`alignmeter lab`: a matrix over many machines."""

__all__ = ["lab"]

from pathlib import Path
from typing import Any

import click
import msgspec

from alignmeter.cli.lab_options import night_of
from alignmeter.cli.lab_run import nightly, run
from alignmeter.lab.engines import open_engine
from alignmeter.lab.job_matrix import FORMATS, job_matrix
from alignmeter.lab.lab_file import read_lab
from alignmeter.lab.submission import Night
from alignmeter.streams import tell
from alignmeter.text import counted


@click.group()
def lab() -> None:
    """Measure a matrix on a whole lab: its classes of nodes, through an engine.

    Start with `alignmeter lab run LAB.toml`, on one machine.
    """


for _command in (run, nightly):
    lab.add_command(_command)


@lab.command()
@night_of
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of a table.")
def status(file: Path, night: str, as_json: bool) -> None:
    """Tell what runs where, what is done, and why the rest failed."""
    _, found = _status(file, night)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=1))
        return
    _print(found)


def _status(file: Path, night: str) -> tuple[Night, list[Any]]:
    from alignmeter.lab.engines.base import ENDED
    from alignmeter.lab.status import status_of

    chosen = read_lab(file)
    place = Night(chosen.out / night)
    plans = place.plans()
    states: dict[str, str] = {}
    for engine, handles in _handles(place).items():
        states |= dict.fromkeys(handles, ENDED)
        states |= open_engine(engine, chosen).active(handles)
    return place, status_of(place, plans, states)


def _handles(place: Night) -> dict[str, list[str]]:
    """Engine -> handles of the jobs that it got."""
    found: dict[str, list[str]] = {}
    for job in place.jobs():
        if job.sent is not None:
            found.setdefault(job.sent.engine, []).append(job.sent.handle)
    return found


def _print(found: list[Any]) -> None:
    from alignmeter.terminal.lab import lab_parts
    from alignmeter.terminal.tables import print_parts

    print_parts(lab_parts(msgspec.to_builtins(found)))


@lab.command()
@night_of
def cancel(file: Path, night: str) -> None:
    """End a night's jobs, from any shell; records that are there stay.

    The same `lab run` goes on with what is left.
    """
    chosen = read_lab(file)
    place = Night(chosen.out / night)
    place.plans()
    place.cancel()
    count = 0
    for name, handles in _handles(place).items():
        engine = open_engine(name, chosen)
        active = list(engine.active(handles))
        count += len(active)
        if engine.outlives:  # else their own process sees to it
            engine.cancel(active)
    click.echo(f"{counted(count, 'job')} told to end")


@lab.command()
@night_of
def collect(file: Path, night: str) -> None:
    """Say what a night has, and write its report.

    Exit status: 0 each replicate has its record, 1 some have none, 3 nothing
    was measured.
    """
    place, found = _status(file, night)
    _print(found)
    from alignmeter.records.folder import load_folders
    from alignmeter_reports import write_report

    loaded = load_folders([place.folder])
    for sentence in loaded.refused:
        tell(f"Error: {sentence}")
    if not loaded.records:
        tell("Nothing has been measured.")
        raise click.exceptions.Exit(3)
    html, csv = place.folder / "report.html", place.folder / "report.csv"
    write_report(loaded, html, csv)
    click.echo(f"\nHTML  {html}\nCSV   {csv}")
    if loaded.refused or any(one.recorded < one.wanted for one in found):
        raise click.exceptions.Exit(1)


@lab.command()
@night_of
@click.option("--format", "form", required=True, help="For whose runners, or Kubernetes.",
              type=click.Choice(list(FORMATS)))  # fmt: skip
def matrix(file: Path, night: str, form: str) -> None:
    """Print a job per class: for self-hosted runners, or as Jobs of Kubernetes."""
    click.echo(job_matrix(read_lab(file), form, night))
