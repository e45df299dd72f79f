"""Options that the commands of `alignmeter lab` share."""

__all__ = ["driven", "night_of"]

import re
from datetime import date
from pathlib import Path
from typing import Any

import click

from alignmeter.errors import InputError
from alignmeter.lab.engines import ENGINES
from alignmeter.registry import default_name

_NIGHT = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)


def night_of(command: Any) -> Any:
    """LAB.toml, and the name of a night."""
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


def driven(command: Any) -> Any:
    """The options of commands that measure."""
    for option in reversed((
        click.option("--engine", type=click.Choice(list(ENGINES)), default=default_name(ENGINES),
                     show_default=True, help="Who runs the jobs."),
        click.option("--class", "classes", multiple=True, metavar="NAME",
                     help="Only this class of nodes; may be given again."),
        click.option("--devices", metavar="LIST", callback=lambda _, __, text: _numbers(text),
                     help="Local: numbers of the devices to use, as torch has them, such as 0,2 "
                     "(default: all)."),
        click.option("--this-python", is_flag=True, help="Local: run cells by the Python of this "
                     "command, in place of each class's python, command and modules, as in an "
                     "image that has all."),
        click.option("--retries", type=click.IntRange(0, 10), metavar="N",
                     help="Second tries of a replicate that is temporarily invalid (default: the "
                     "file's, or 1)."),
        click.option("--until", metavar="HH:MM", help="Begin no cell from this local time on."),
        click.option("--budget", metavar="N", help="Device hours of the night, such as 40gpuh."),
    )):  # fmt: skip
        command = option(command)
    return night_of(command)


def _numbers(text: str | None) -> tuple[int, ...]:
    """Raises `InputError` for what are no numbers, or not each once."""
    parts = [] if text is None else [part.strip() for part in text.split(",")]
    numbers = tuple(int(part) for part in parts if re.fullmatch(r"\d{1,4}", part, re.ASCII))
    if len(set(numbers)) < len(parts):
        raise InputError(f"--devices is {text!r}; give each number once, such as 0,2")
    return numbers
