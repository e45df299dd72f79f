"""`alignmeter lab`: a matrix over many machines."""

__all__ = ["lab"]

import re
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from alignmeter.cli.ending import end_on_sigterm
from alignmeter.cli.lab_limits import budget_seconds, until_time
from alignmeter.cli.options import note
from alignmeter.errors import InputError
from alignmeter.lab.engines import ENGINES, open_engine
from alignmeter.lab.lab_file import Lab, read_lab
from alignmeter.lab.submission import Night, NightPlan
from alignmeter.registry import default_name
from alignmeter.streams import tell
from alignmeter.text import counted, listed

if TYPE_CHECKING:
    from alignmeter.lab.drive import Ending

_MOST = 20
_NIGHT = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)


@click.group()
def lab() -> None:
    """Measure a matrix on a whole lab: its classes of nodes, through an engine.

    Start with `alignmeter lab run LAB.toml`, on one machine.
    """


def _file(command: Any) -> Any:
    command = click.option("--night", metavar="NAME", callback=_night,
                           help="Its folder, and the run of its records (default: today's date).",
                           )(command)  # fmt: skip
    return click.argument("file", metavar="LAB.toml", type=click.Path(path_type=Path))(command)


def _night(_: object, __: object, name: str | None) -> str:
    """Raises `InputError` for what can be no folder's name."""
    if name is None:
        return date.today().isoformat()
    if not _NIGHT.fullmatch(name):
        raise InputError(
            f"--night is {name!r}; give a name of letters, digits, dots and dashes, such as "
            "2026-01-31"
        )
    return name


@lab.command()
@_file
@click.option("--engine", type=click.Choice(list(ENGINES)), default=default_name(ENGINES),
              show_default=True, help="Who runs the jobs.")  # fmt: skip
@click.option("--class", "classes", multiple=True, metavar="NAME",
              help="Only this class of nodes; may be given again.")  # fmt: skip
@click.option("--devices", metavar="LIST", callback=lambda _, __, text: _numbers(text),
              help="Local: numbers of the devices to use, as torch has them, such as 0,2 "
              "(default: all).")  # fmt: skip
@click.option("--retries", type=click.IntRange(0, 10), metavar="N",
              help="Second tries of a replicate that is temporarily invalid (default: the file's, "
              "or 1).")  # fmt: skip
@click.option("--until", metavar="HH:MM", help="Begin no cell from this local time on.")
@click.option("--budget", metavar="N", help="Device hours of the night, such as 40gpuh.")
@click.option("--wait/--no-wait", default=True, show_default=True,
              help="Stay until the night is over: only then jobs that were lost, second tries and "
              "a budget are seen to.")  # fmt: skip
def run(
    file: Path, night: str, engine: str, classes: tuple[str, ...], devices: tuple[int, ...],
    retries: int | None, until: str | None, budget: str | None, wait: bool,
) -> None:  # fmt: skip
    """Measure the matrix of LAB.toml, each class on its own nodes.

    What a night's folder has already is not measured again: the same command
    goes on where one was killed. Most informative first: what never was
    measured, then the first replicate of every cell, and so on.

    Exit status: 0 each replicate has its record, 1 some have none, 2 wrong
    usage or input, 130 stopped.
    """
    from alignmeter.lab.drive import Driver, Limits

    limits = Limits(until=until_time(until), budget_s=budget_seconds(budget))
    chosen = read_lab(file).only(classes)
    opened = open_engine(engine, chosen, devices)
    if not wait and (budget is not None or not opened.outlives):
        raise InputError(
            f"--no-wait leaves nobody to {'count a budget' if budget else 'run local jobs'}; "
            "leave it out"
        )
    place = Night(chosen.out / night)
    with place.locked(chosen.classes):
        opened.check()
        plan = _plan(chosen, engine, night, retries)
        place.write_plan(plan)
        place.forget_cancel()
        end_on_sigterm()
        driver = Driver(place, chosen, plan, opened, limits, tell)
        _conclude(driver.drive(wait=wait), place, waited=wait)


def _numbers(text: str | None) -> tuple[int, ...]:
    """Raises `InputError` for what are no numbers, or not each once."""
    parts = [] if text is None else [part.strip() for part in text.split(",")]
    numbers = tuple(int(part) for part in parts if re.fullmatch(r"\d{1,4}", part, re.ASCII))
    if len(set(numbers)) < len(parts):
        raise InputError(f"--devices is {text!r}; give each number once, such as 0,2")
    return numbers


def _plan(chosen: Lab, engine: str, night: str, retries: int | None) -> NightPlan:
    from alignmeter.lab.planned import plan_classes

    classes = plan_classes(chosen)
    for text in dict.fromkeys(text for found in classes.values() for text in found.notes):
        note(text)
    return NightPlan(
        lab=str(Path(chosen.where).resolve()),
        engine=engine,
        run=night,
        replicates=chosen.replicates,
        retries=chosen.retries if retries is None else retries,
        classes=classes,
    )


def _conclude(ending: "Ending", place: Night, *, waited: bool) -> None:
    for text in ending.refusals:
        tell(f"refused: {text}")
    for key, text in ending.failed.items():
        tell(f"{key}: {text}")
    click.echo(f"records: {place.folder}")
    if ending.complete:
        return
    if not waited:
        click.echo("jobs are out; `alignmeter lab status` tells of them")
        return
    why = f" ({ending.why})" if ending.why else ""
    for name, keys in ending.not_reached.items():
        if keys:
            tell(f"{name}: {counted(len(keys), 'replicate')} not reached{why}:")
            for text in listed(keys, _MOST, "replicate"):
                tell(f"  {text}")
    raise click.exceptions.Exit(1)


@lab.command()
@_file
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of a table.")
def status(file: Path, night: str, as_json: bool) -> None:
    """Tell what runs where, what is done, and why the rest failed."""
    _, found = _status(file, night)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=1))
        return
    _print(found)


def _status(file: Path, night: str) -> tuple[Night, list[Any]]:
    from alignmeter.lab.status import status_of

    chosen = read_lab(file)
    place = Night(chosen.out / night)
    plans = place.plans()
    states: dict[str, str] = {}
    for engine, handles in _handles(place).items():
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
@_file
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
@_file
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
@_file
@click.option("--format", "form", required=True, help="For whose runners.",
              type=click.Choice(["github", "gitlab"]))  # fmt: skip
def matrix(file: Path, night: str, form: str) -> None:
    """Print the job matrix for self-hosted runners: a job per class."""
    from alignmeter.lab.job_matrix import job_matrix

    click.echo(job_matrix(read_lab(file), form, night))
