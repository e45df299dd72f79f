"""What a command found, to whoever asked for it: a table, or JSON, and a file of that."""

__all__ = ["put_out"]

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from alignmeter.records.folder import write_bytes

if TYPE_CHECKING:  # it imports rich
    from alignmeter.terminal.tables import Part


def put_out(
    data: bytes, parts: "Callable[[], Iterable[Part]]", *, as_json: bool, out: Path | None
) -> None:
    """Store ``data``, JSON, in ``out`` if there is one; print it, or the ``parts`` and where it is.

    Raises `InputError` if the file cannot be written.
    """
    from alignmeter.terminal.tables import print_parts

    if out is not None:
        write_bytes(out, data)
    if as_json:
        click.echo(data, nl=False)
        return
    print_parts(parts())
    if out is not None:
        click.echo(f"JSON  {out}")
