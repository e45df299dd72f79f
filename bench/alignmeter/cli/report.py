"""`alignmeter report`: records in, pages out."""

__all__ = ["report"]

from pathlib import Path

import click

from alignmeter.folder import load_folders
from alignmeter.summary import summary_lines


@click.command()
@click.argument("folders", nargs=-1, required=True, metavar="DIR...",
                type=click.Path(path_type=Path))  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=Path("report.html"),
              show_default=True, metavar="FILE", help="The HTML page.")  # fmt: skip
@click.option("--csv", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Also a CSV with one row per record.")  # fmt: skip
def report(folders: tuple[Path, ...], out: Path, csv: Path | None) -> None:
    """Write a report over the records in any number of folders.

    The folders may come from any number of machines. A file that is not a
    record is named and left out; the exit status is then 2, the report is
    written all the same.
    """
    from alignmeter_reports import write_report

    loaded = load_folders(folders)
    for sentence in loaded.refused:
        click.echo(f"Error: {sentence}", err=True)
    if not loaded.records:
        click.echo(f"Error: no records in {', '.join(map(str, folders))}", err=True)
        raise click.exceptions.Exit(2)
    write_report(loaded, out, csv)
    click.echo("\n".join([*summary_lines(loaded.records), "", f"HTML  {out}"]))
    if csv is not None:
        click.echo(f"CSV   {csv}")
    if loaded.refused:
        raise click.exceptions.Exit(2)
