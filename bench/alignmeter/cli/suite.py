"""`alignmeter suite`: a packaged pytest-benchmark suite, in whatever folder."""

__all__ = ["suite"]

import ast
import os
import re
import sys
from pathlib import Path

import click

from alignmeter.errors import InputError, known
from alignmeter.runs.suites import suites
from alignmeter.streams import hand_back

_PYTEST = (
    "-p", "alignmeter.plugin", "--benchmark", "--import-mode=importlib",
    "--benchmark-columns=median,iqr,rounds", "-p", "no:cacheprovider",
    "-c", os.devnull,  # no settings of the folder that this is called in
)  # fmt: skip


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("name", required=False)
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[PYTEST OPTION]...")
def suite(name: str | None, options: tuple[str, ...]) -> None:
    """Run a packaged suite of pytest-benchmark, or list them.

    What follows NAME is pytest's: -k ssd_scan, --accelerator cuda, --results
    DIR. The exit status is pytest's, too: 0 all that ran was measured, 1 a
    test failed, 4 wrong usage, 5 nothing could be measured.
    """
    known_suites = suites()
    if name is None:
        for each, path in known_suites.items():
            click.echo(f"{each:<10}  {_about(path)}")
        return
    if name not in known_suites:
        raise InputError(f"{name!r} is no suite; {known(known_suites, name)}")
    hand_back()
    given = ["--rootdir", str(Path.cwd()), str(known_suites[name]), *options]
    # Signals and the terminal are pytest's own from here on.
    os.execv(  # noqa: S606
        sys.executable, [sys.executable, "-P", "-m", "pytest", *_PYTEST, *given]
    )


def _about(path: Path) -> str:
    """How its docstring begins."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return re.split("[:,.]", text, maxsplit=1)[0]
