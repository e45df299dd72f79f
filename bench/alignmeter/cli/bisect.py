"""`alignmeter bisect`: which commit or environment made it worse?"""

__all__ = ["bisect"]

import sys
from pathlib import Path

import click
import msgspec

from alignmeter.cells.cell import Cell
from alignmeter.errors import InputError
from alignmeter.records.folder import read_record
from alignmeter.text import shortened

_SAID = 100
"""Characters of a library's own words in a sentence."""


@click.command()
@click.argument("cell", metavar="CELL", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("good")
@click.argument("bad")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
@click.option("--replicates", type=click.IntRange(3), default=6, show_default=True, metavar="N",
              help="Fresh processes per commit or environment.")  # fmt: skip
@click.option("--fail-on", metavar="GATES", help="Metrics that count, as of `alignmeter compare`: "
              "time:3%,memory:1%.")  # fmt: skip
@click.option("--repository", type=click.Path(path_type=Path, file_okay=False), default=Path(),
              metavar="DIR", help="The repository of the commits (default: here).")  # fmt: skip
@click.option("--environments", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Environments in place of commits: a line each, the oldest first; {} in COMMAND "
              "and --python is the line.")  # fmt: skip
@click.option("--python", default=sys.executable, metavar="FILE", help="What measures, "
              "such as .venv/bin/python of the worktree (default: this one).")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              default=Path("bisect"), show_default=True, help="Folder of the records by commit; "
              "the same command goes on there.")  # fmt: skip
def bisect(
    cell: Path, good: str, bad: str, command: tuple[str, ...], replicates: int,
    fail_on: str | None, repository: Path, environments: Path | None, python: str, out: Path,
) -> None:  # fmt: skip
    """Find the first commit or environment from GOOD to BAD that is worse.

    CELL is a record of it, or its `cell` object. COMMAND installs a commit and
    is started in a worktree of its own; without one Python finds the
    worktree's packages. A commit whose COMMAND fails is passed over, as git
    bisect does for exit status 125. Your checkout is not touched.

    With --environments GOOD and BAD are lines of that file, such as
    interpreters (--python '{}') or what to install (-- pip install '{}').

    Exit status: 0 found, 3 only commits that cannot be measured are left,
    2 wrong usage, or GOOD and BAD cannot be told apart.
    """
    from alignmeter.analysis.compare import parse_gates
    from alignmeter.runs.bisect import Bisection
    from alignmeter.runs.bisect import bisect as bisected

    found = bisected(
        Bisection(
            cell=_cell(cell), good=good, bad=bad, command=command, repository=repository,
            out=out.absolute(), python=python, replicates=replicates, environments=environments,
            gates=None if fail_on is None else parse_gates(fail_on), said=click.echo,
        )
    )  # fmt: skip
    what = "commit" if environments is None else "environment"
    if found.first:
        click.echo(f"{found.first} is the first bad {what}")
        return
    click.echo(f"the first bad {what} is one of these, which cannot be measured:")
    for name in found.candidates:
        click.echo(name)
    raise click.exceptions.Exit(3)


def _cell(path: Path) -> Cell:
    try:
        data = path.read_bytes()
        return msgspec.json.decode(data, type=Cell)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except msgspec.ValidationError as error:
        if b'"schema_version"' not in data:
            raise InputError(
                f"{path}: neither a record nor a cell ({shortened(str(error), _SAID)}); give the "
                "file of a record, or its `cell` object"
            ) from error
        return read_record(path).cell
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return read_record(path).cell
