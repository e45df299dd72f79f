"""A cell that somebody else resolved, resolved here: its own files, or it is another cell."""

__all__ = ["resolve_as"]

from collections.abc import Mapping
from pathlib import Path

from alignmeter.cells.axes import PATHS, AxisValue, path_of
from alignmeter.cells.cell import Cell
from alignmeter.cells.columns import DROP
from alignmeter.cells.places import check_path, note_place
from alignmeter.errors import InputError
from alignmeter.session.resolve import Planned, resolve_cell

_NONE: dict[str, AxisValue] = {}


def resolve_as(
    wanted: Cell,
    where: str,
    folder: Path,
    named: Mapping[str, AxisValue] = _NONE,
    *,
    bad_rows: str = DROP,
) -> Planned:
    """``wanted``, its files found on this machine: digests say whether they are its own.

    ``where``: who asks for it. Its files are looked for in ``folder`` and in the working directory,
    if ``named`` does not say where they are. ``bad_rows``: as in a plan. Raises `InputError`
    if they make another cell here.
    """
    for name in PATHS.keys() - named.keys():
        written = path_of(name, getattr(wanted, name))
        if written is not None:
            check_path(written, where)
            note_place(written, folder if (folder / written).exists() else Path())
    planned = resolve_cell({**wanted.axes(), **named}, bad_rows=bad_rows)
    if planned.cell.id != wanted.id or planned.cell.without() != wanted.without():
        raise InputError(
            f"{where}: this is {wanted.id}, but with this machine's files its axes make "
            f"{planned.cell.id}; --data, --model, --reward and --teacher say where its own are"
        )
    return planned
