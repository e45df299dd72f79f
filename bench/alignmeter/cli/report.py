"""`alignmeter report`: records in, pages out."""

__all__ = ["report"]

from pathlib import Path

import click

from alignmeter.analysis.prices import read_prices
from alignmeter.cli.options import note
from alignmeter.errors import InputError
from alignmeter.records.folder import Loaded, load_folders, no_records
from alignmeter.records.garbage import keep
from alignmeter.records.record import Record
from alignmeter.streams import tell
from alignmeter.text import plain

_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path)
_LAST_GOOD = "last-good"


@click.command()
@click.argument("folders", nargs=-1, required=True, metavar="DIR...", type=_FOLDER)
@click.option("--out", type=_FILE, default=Path("report.html"), show_default=True, metavar="FILE",
              help="The HTML page.")  # fmt: skip
@click.option("--csv", type=_FILE, metavar="FILE", help="Also a CSV with one row per record.")
@click.option("--parquet", type=_FILE, metavar="FILE", help="Also every record, as Parquet.")
@click.option("--md", type=_FILE, metavar="FILE", help="Also Markdown, for a job summary.")
@click.option("--site", type=_FOLDER, metavar="DIR", help="Also a small site of files: an index of "
              "nights, a page a night, a page a cell.")  # fmt: skip
@click.option("--title", default="alignmeter report", metavar="TEXT", help="Title of the page.")
@click.option("--prices", type=_FILE, metavar="FILE", help="TOML with the price of an hour of each "
              "device and of a kWh: adds costs.")  # fmt: skip
@click.option("--baseline", type=_FOLDER, metavar="RUN|last-good", help="Folder of an earlier "
              "run: adds a verdict per cell, as `alignmeter compare` gives it. last-good: of the "
              "runs in DIR, for each kind of node the last one before the newest night whose "
              "figures are all valid.")  # fmt: skip
@click.option("--open", "show", is_flag=True, help="Show the page in the browser.")
def report(
    folders: tuple[Path, ...], out: Path, csv: Path | None, parquet: Path | None, md: Path | None,
    site: Path | None, title: str, prices: Path | None, baseline: Path | None, show: bool,
) -> None:  # fmt: skip
    """Write a report over the records in any number of folders.

    The folders may come from any number of machines. Plans, searches and
    imported results beside records, or alone, are shown too. A file that is not
    a record is named and left out; the exit status is then 2, the report is
    written all the same.
    """
    from alignmeter.terminal.summary import summary_parts
    from alignmeter.terminal.tables import print_parts
    from alignmeter_reports import write_report

    rates = None if prices is None else read_prices(prices)
    loaded = _loaded(folders)
    if rates is not None:
        for sentence in rates.unknown({record.provenance.device for record in loaded.records}):
            tell(f"Note: {prices}: {sentence}")
    base = None if baseline is None else _baseline(baseline, folders, loaded)
    keep()
    write_report(
        loaded, out, csv, title, md=md, parquet=parquet, prices=rates,
        baseline=None if base is None else base.records,
    )  # fmt: skip
    if site is not None:
        from alignmeter_reports.site import write_site

        write_site(loaded, site, title, prices=rates)
    if loaded.records:
        print_parts(summary_parts(loaded.records, rates))
        click.echo()
    for name, path in (("HTML", out), ("CSV", csv), ("Parquet", parquet), ("Markdown", md),
                       ("Site", site and site / "index.html")):  # fmt: skip
        if path is not None:
            click.echo(f"{name:<5} {path}")
    if show and click.launch(out.absolute().as_uri()):
        tell(f"Warning: {out}: nothing here opens a page; open it in a browser")
    if loaded.refused or (base is not None and base.refused):
        raise click.exceptions.Exit(2)


def _loaded(folders: tuple[Path, ...]) -> Loaded:
    """What they hold; sentences on bad files go to the error stream."""
    loaded = load_folders(folders)
    for sentence in loaded.refused:
        tell(f"Error: {sentence}")
    if loaded.empty:
        raise no_records(folders)
    return loaded


def _baseline(folder: Path, nights: tuple[Path, ...], loaded: Loaded) -> Loaded:
    """The run that was named, or of those in ``nights`` the one before the newest."""
    if str(folder) == _LAST_GOOD and not folder.exists():
        return Loaded(records=_last_good(nights, loaded), refused=[])
    found = _loaded((folder,))
    if not found.records:
        raise no_records((folder,))
    return found


def _last_good(folders: tuple[Path, ...], loaded: Loaded) -> list[Record]:
    from alignmeter.analysis.history import read_runs
    from alignmeter.analysis.last_good import last_good
    from alignmeter.analysis.nights import nights

    found = nights(loaded.records)
    if not found:
        raise InputError("--baseline last-good: no record says when it was made; name a folder")
    runs = (pair for folder in folders for pair in read_runs(folder, []))  # its errors are told
    chosen = last_good(runs, found[-1].records)
    for run in chosen.runs:
        note(f"the last good run on {plain(run)}")
    return chosen.records
