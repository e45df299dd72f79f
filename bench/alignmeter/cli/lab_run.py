"""`alignmeter lab run` and `nightly`: cells go out, records come back, and the news with them."""

__all__ = ["nightly", "run"]

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alignmeter.cli.ending import end_on_sigterm
from alignmeter.cli.lab_limits import budget_seconds, until_time
from alignmeter.cli.lab_options import driven
from alignmeter.cli.options import note
from alignmeter.errors import InputError
from alignmeter.lab.engines import open_engine
from alignmeter.lab.lab_file import Lab, read_lab
from alignmeter.lab.submission import Night, NightPlan
from alignmeter.streams import tell
from alignmeter.text import counted, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alignmeter.analysis.history import Series
    from alignmeter.lab.drive import Ending
    from alignmeter.records.record import Record

_MOST = 20


@click.command()
@driven
@click.option("--wait/--no-wait", default=True, show_default=True,
              help="Stay until the night is over: only then jobs that were lost, second tries and "
              "a budget are seen to.")  # fmt: skip
def run(file: Path, night: str, wait: bool, **how: Any) -> None:
    """Measure the matrix of LAB.toml, each class on its own nodes.

    What a night's folder has already is not measured again: the same command
    goes on where one was killed. Most informative first: what never was
    measured, then the first replicate of every cell, and so on.

    Exit status: 0 each replicate has its record, 1 some have none, 2 wrong
    usage or input, 130 stopped.
    """
    place, _, ending = _measure(file, night, wait=wait, **how)
    _conclude(ending, place, waited=wait)


@click.command()
@driven
@click.option("--site", type=click.Path(path_type=Path), metavar="DIR",
              help="Also the site of all nights, as `alignmeter report` makes it.")  # fmt: skip
@click.option("--notify", "target", metavar="URL|FILE",
              help="Whom to send the news as JSON (default: LAB.toml's notify).")  # fmt: skip
def nightly(file: Path, night: str, site: Path | None, target: str | None, **how: Any) -> None:
    """Measure a night, and say what is news in the morning.

    As `lab run`; then each cell versus the last good night of its kind of
    node, metrics that moved to another level in the last days, a summary in
    NIGHT/summary.md and a report.

    Exit status: 0 no news, 1 some, 2 wrong usage or input, 130 stopped.
    """
    from alignmeter.lab.morning import markdown, morning_of
    from alignmeter.lab.notify import check_target, notify
    from alignmeter.records.folder import write_bytes

    lab = read_lab(file)
    where = f"{file}: notify" if target is None else "--notify"
    target = lab.notify if target is None else target
    if target is not None:  # now, and not when the night is over
        check_target(target, where)
    if lab.store is not None:
        from alignmeter.store.compact import check_store

        check_store(lab.store)
    place, chosen, ending = _measure(file, night, wait=True, **how)

    refused: list[str] = []
    records, series = _nights(chosen, night, refused)
    for sentence in refused:
        tell(f"Error: {sentence}")
    found = morning_of(records, series, night, chosen.replicates, ending)
    write_bytes(place.folder / "summary.md", markdown(found).encode())
    click.echo(markdown(found))
    _report(place, chosen.out, site)
    if target is not None:
        notify(target, found, chosen.folder)
    if not found.quiet or refused:
        raise click.exceptions.Exit(1)


def _nights(
    chosen: Lab, night: str, refused: list[str]
) -> "tuple[Sequence[Record], Sequence[Series]]":
    """What `morning_of` wants: with a store few nights are read record by record."""
    from alignmeter.analysis.history import read_series
    from alignmeter.lab.morning import before
    from alignmeter.records.documents import documents_in
    from alignmeter.records.folder import load_documents, load_folders

    store = chosen.store
    if store is None:
        loaded = load_folders([chosen.out])
        refused += loaded.refused
        return loaded.records, read_series(chosen.out, [])
    from alignmeter.store.compact import compact

    refused += compact(chosen.out, store).refused
    series = read_series(store, refused)
    mine = load_folders([chosen.out / night]).records

    def read(name: str) -> "Sequence[Record]":
        if (chosen.out / name).is_dir():
            return load_folders([chosen.out / name]).records
        stored = documents_in(store, [])  # its folder was removed since
        return load_documents(stored, stored.below(store / name)).records

    return [*mine, *before(series, mine, night, read, chosen.replicates)], series


def _report(place: Night, nights: Path, site: Path | None) -> None:
    """Of the night, and of all nights."""
    from alignmeter.records.folder import load_folders
    from alignmeter_reports import write_report
    from alignmeter_reports.site import write_site

    mine = load_folders([place.folder])
    if mine.records:
        html = place.folder / "report.html"
        write_report(mine, html, place.folder / "report.csv")
        click.echo(f"HTML  {html}")
    if site is not None and (every := load_folders([nights])).records:
        write_site(every, site, "Nights of the lab")
        click.echo(f"Site  {site / 'index.html'}")


def _measure(
    file: Path, night: str, *, engine: str, classes: tuple[str, ...], devices: tuple[int, ...],
    this_python: bool, retries: int | None, until: str | None, budget: str | None, wait: bool,
) -> "tuple[Night, Lab, Ending]":  # fmt: skip
    """Raises `InputError` for what cannot be measured so."""
    from alignmeter.lab.drive import Driver, Limits
    from alignmeter.lab.preflight import check_names

    limits = Limits(until=until_time(until), budget_s=budget_seconds(budget))
    chosen = read_lab(file).only(classes)
    if this_python:
        if open_engine(engine, chosen).outlives:
            raise InputError("--this-python is for the local engine; leave it out")
        chosen = chosen.by_this_python()
    for name, node_class in chosen.classes.items():
        check_names(node_class.requires, f"{chosen.where}: [class.{name}]: requires")
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
        return place, chosen, driver.drive(wait=wait)


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
