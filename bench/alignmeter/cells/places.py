"""Where the files lie that cells name.

A cell holds a path as it was written, so that neither records nor ids depend on the folder from
which a command is called. A path that is written in a file is relative to that file; here stands
where that leads. Any other leads where the working directory has it.
"""

__all__ = [
    "adopt_places",
    "check_data_place",
    "check_model_place",
    "check_path",
    "check_reward_place",
    "known_places",
    "note_place",
    "place_of",
]

import re
from collections.abc import Mapping
from pathlib import Path

from alignmeter.errors import InputError
from alignmeter.text import shown_path

_HUB_ID = re.compile(r"(?:\w[\w.-]*/)?\w[\w.-]*", re.ASCII)
"""``organisation/name``, or an old name alone; whether the hub has it, it is asked later."""
_PLACES: dict[str, str] = {}
"""A path as it was written in a file -> the same as this process finds it."""


def check_path(written: str, where: str) -> None:
    """Raises `InputError`, naming ``where``, for what no file of a record can be called.

    That is a name that is no Unicode, which no JSON can hold, or longer than the system allows.
    """
    shown = f"{where}: {shown_path(written, 60)!r}"
    try:
        written.encode()
        Path(written).exists()
    except UnicodeEncodeError as error:
        raise InputError(f"{shown} is a name that is not UTF-8; rename it") from error
    except OSError as error:
        raise InputError(
            f"{shown} cannot be looked for: {error.strerror or error}; give a path that is there"
        ) from error


def note_place(written: str, folder: Path) -> None:
    """``written`` is relative to ``folder``: what is there under that name is what is meant.

    A name under which nothing is there keeps its meaning (a hub id). Raises `InputError` for a
    name with two meanings in one process: a cell could not say which.
    """
    place = folder / written
    if not place.exists():
        return
    before = _PLACES.setdefault(written, str(place))
    if before != str(place) and not Path(before).samefile(place):
        raise InputError(
            f"{written!r} would mean both {before} and {place} in one run: rename one of them, or "
            "measure them by two commands"
        )


def place_of(written: str) -> str:
    """Where a path leads that a cell names; itself where no file named it."""
    return _PLACES.get(written, written)


def check_data_place(written: str, where: str, folder: Path | None) -> None:
    """Raises `InputError`, with ``where`` it was written, unless there is a file or folder of that
    name: relative to ``folder``, or to the working directory.
    """
    place = _placed(written, folder)
    if place.is_file() or place.is_dir():
        return
    shown = repr(shown_path(written, 60))
    if place.exists():
        raise InputError(
            f"{where}: data {shown} is a pipe or a device, read only once; save it as a file"
        )
    raise InputError(
        f"{where}: data file {shown} does not exist{_beside(folder)}; give packaged, synthetic, "
        "lengths:hh, or a file or folder of JSON Lines, JSON, CSV or Parquet"
    )


def check_model_place(path: str, where: str, folder: Path | None) -> None:
    """Raises `InputError` for what is not here and can be no hub id: a checkpoint is looked for
    where a cell is resolved, which takes torch.
    """
    if _HUB_ID.fullmatch(path) or _placed(path, folder).exists():
        return
    raise InputError(
        f"{where}: {shown_path(path, 60)!r} does not exist{_beside(folder)}, and is neither a "
        "folder nor a hub id such as organisation/name, nor a .json file"
    )


def check_reward_place(path: str, where: str, folder: Path | None) -> None:
    """Raises `InputError`, with ``where`` it was written, unless there is a file of that name."""
    place = _placed(path, folder)
    if place.is_file():
        return
    shown = repr(shown_path(path, 60))
    if place.exists():
        raise InputError(f"{where}: reward file {shown} is no file; give FILE.py:function")
    raise InputError(
        f"{where}: reward file {shown} does not exist{_beside(folder)}; give FILE.py:function"
    )


def _placed(written: str, folder: Path | None) -> Path:
    return Path(written) if folder is None else folder / written


def _beside(folder: Path | None) -> str:
    """What the paths of a file are relative to, for a sentence."""
    near = "" if folder is None else shown_path(str(folder), 60)
    return near and f" in {near}, which paths in that file are relative to"


def known_places() -> dict[str, str]:
    """Path as written -> place: what another process needs to find the same files."""
    return dict(_PLACES)


def adopt_places(places: Mapping[str, str]) -> None:
    """In a worker: find what its parent finds."""
    _PLACES.update(places)
