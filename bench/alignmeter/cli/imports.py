"""`alignmeter import`: what others reported, for a report to show beside what was measured."""

__all__ = ["import_results"]

from collections import Counter
from pathlib import Path

import click

from alignmeter.text import counted

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("import")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=_FILE)
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="DIR",
              help="Folder that gets reported.json; give it to `alignmeter report`.")  # fmt: skip
@click.option("--columns", type=_FILE, metavar="FILE", help="TOML that says what the columns of "
              "CSV files hold (docs/import.md).")  # fmt: skip
def import_results(files: tuple[Path, ...], out: Path, columns: Path | None) -> None:
    """Read results that others have published.

    JSON of PEFT's method comparison, JSON that pytest-benchmark wrote of
    this project's suites, or CSV files with a description of their columns.
    A report shows them as reported by others and compares them with no
    measurement. An earlier import into DIR is replaced.
    """
    from alignmeter.records.folder import REPORTED_FILE, write_bytes
    from alignmeter.records.foreign import read_foreign
    from alignmeter.records.reported import encode_reported

    found = read_foreign(files, columns)
    path = out / REPORTED_FILE
    write_bytes(path, encode_reported(found))
    for index, source in enumerate(found.sources):
        rows = Counter(row.source for row in found.rows)[index]
        click.echo(f"{counted(rows, 'result')} of {source.file}: {source.title}")
    click.echo(str(path))
