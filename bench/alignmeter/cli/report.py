"""`alignmeter report`: records in, pages out."""

__all__ = ["report"]

from pathlib import Path

import click

from alignmeter.analysis.prices import read_prices
from alignmeter.records.folder import Loaded, load_folders, no_records
from alignmeter.streams import tell

_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path)


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
@click.option("--baseline", type=_FOLDER, metavar="RUN", help="Folder of an earlier run: adds a "
              "verdict per cell, as `alignmeter compare` gives it.")  # fmt: skip
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
    base = None if baseline is None else _baseline(baseline)
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


def _baseline(folder: Path) -> Loaded:
    loaded = _loaded((folder,))
    if not loaded.records:
        raise no_records((folder,))
    return loaded
