"""`alignmeter store`: many nights in one place."""

__all__ = ["store"]

from pathlib import Path

import click

from alignmeter.streams import tell
from alignmeter.text import counted

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group()
def store() -> None:
    """Keep the records of many nights in Parquet, ask them with SQL, export them.

    `report`, `history` and `compare` read a store as they read a folder.
    """


@store.command("compact")
@click.argument("results", type=_FOLDER)
@click.option("--to", "place", type=_FOLDER, required=True, metavar="STORE",
              help="Folder of the store; made where there is none.")  # fmt: skip
def compact_results(results: Path, place: Path) -> None:
    """Add what is below RESULTS, and not there yet, to a store.

    Nothing is removed from RESULTS. If it is stopped, the same command goes on.
    Timelines stay in RESULTS. Exit status 2 if a file was no record: it is
    named, the rest is stored.
    """
    from alignmeter.store.compact import compact

    done = compact(results, place)
    for sentence in done.refused:
        tell(f"Error: {sentence}")
    click.echo(
        f"{place}: {counted(done.records, 'record')} and {counted(done.others, 'other file')} "
        f"added, {done.already} already there"
    )
    if done.refused:
        raise click.exceptions.Exit(2)


@store.command("query")
@click.argument("place", type=_FOLDER, metavar="STORE")
@click.argument("sql")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV in place of a table.")
def query_store(place: Path, sql: str, as_csv: bool) -> None:
    """Ask the records with SQL (DuckDB); their table is called records.

    Its columns are in docs/store-columns.md. Files beside the store cannot be
    read by it.
    """
    from alignmeter.store.query import query

    found = query(place, sql)
    if as_csv:
        click.echo(found.csv(), nl=False)
        return
    from alignmeter.terminal.sql_answer import sql_answer_parts
    from alignmeter.terminal.tables import print_parts

    print_parts(sql_answer_parts(found.columns, found.rows))


@store.command("export")
@click.argument("source", type=_FOLDER, metavar="STORE|RESULTS")
@click.argument("url", metavar="postgresql://...")
def export_rows(source: Path, url: str) -> None:
    """Send every record to a table of a PostgreSQL server.

    The table is `alignmeter_records`, made where there is none. A record that is there is not sent
    twice. A password is better kept in PGPASSWORD or ~/.pgpass.
    """
    from alignmeter.store.export import export

    done = export(source, url)
    for sentence in done.refused:
        tell(f"Error: {sentence}")
    click.echo(f"{counted(done.sent, 'record')}: {done.new} new, {done.sent - done.new} there")
    if done.refused:
        raise click.exceptions.Exit(2)
