"""Values of axes as users write them, checked."""

__all__ = ["check_value"]

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from alignmeter.cells.axes import AXES, LENGTHS, Axis, AxisValue, no_table, path_of
from alignmeter.cells.columns import parse_columns
from alignmeter.cells.places import (
    check_data_place,
    check_model_place,
    check_path,
    check_reward_place,
)
from alignmeter.cells.reward_file import split_reward
from alignmeter.errors import InputError, known
from alignmeter.text import plain, shortened

_LONGEST_LANE = 60
_LAYERS = re.compile(r"[A-Za-z]\w*(\+[A-Za-z]\w*)*")


def _whole_number(axis: Axis, value: object, where: str) -> int:
    try:
        number = value if isinstance(value, int) else int(str(value))
    except ValueError:
        number = axis.minimum - 1
    wrong_kind = isinstance(value, (bool, float))
    if wrong_kind or number < axis.minimum or number > axis.maximum:
        limits = f"of at least {axis.minimum}"
        if number > axis.maximum:
            limits = f"from {axis.minimum} to {axis.maximum}"
        raise InputError(
            f"{where}: {shortened(repr(value), 40)} is not a value of {axis.name}; "
            f"give a whole number {limits}"
        )
    return number


def _share(axis: Axis, value: object, where: str) -> str:
    """A number from 0 to below 1, as it is written shortest: one share is one cell."""
    try:
        number = -1.0 if isinstance(value, bool) else float(str(value))
    except ValueError:
        number = -1.0
    if not 0 <= number < 1:
        raise InputError(
            f"{where}: {shortened(repr(value), 40)} is not a value of {axis.name}; give "
            f"{axis.other}, such as 0.05"
        )
    return f"{number:g}"


_NUMBERS: Mapping[str, Callable[[Axis, object, str], AxisValue]] = {"lora_dropout": _share}
"""Axis -> how its numbers are read, where they are no whole ones."""


def _is_other(axis: Axis, value: str, folder: Path | None) -> bool:
    """Whether it is written as that axis's values are that are none of its words."""
    if axis.name == "reward":
        return all(split_reward(value))
    if axis.name == "lora_targets":  # a lone word without _ is more likely a preset misspelt
        return _LAYERS.fullmatch(value) is not None and ("_" in value or "+" in value)
    if axis.name == "teacher":  # a folder, or the hub's organisation/name
        return "/" in value or (folder or Path()).joinpath(value).is_dir()
    return False


def _check_file(name: str, path: str, where: str, folder: Path | None) -> None:
    """Data and a reward's file are there; a checkpoint is, or may be on a hub."""
    if name in ("model", "teacher"):
        check_model_place(path, where, folder)
    elif name == "reward":
        check_reward_place(path, where, folder)
    elif name == "data":
        if path.startswith(LENGTHS):
            raise InputError(f"{where}: {no_table(path)}")
        check_data_place(path, where, folder)


def check_value(name: str, value: object, where: str, folder: Path | None = None) -> AxisValue:
    """`value` as the axis wants it.

    ``where`` names the file or flag for the message; a path is relative to ``folder``, or to the
    working directory. Raises `InputError` for an unknown axis or value, with the known ones.
    """
    if name not in AXES:
        raise InputError(
            f"{where}: {shortened(repr(name), 60)} is not an axis; {known(AXES, name)}"
        )
    axis = AXES[name]
    number = _whole_number if axis.integer else _NUMBERS.get(name)
    if number is not None:
        return number(axis, value, where)
    if not isinstance(value, str) or not value:
        raise InputError(f"{where}: {name} wants text, got {value!r}")
    path = path_of(name, value)
    if path is not None:
        check_path(path, where)
    if axis.choices and value not in axis.choices and not _is_other(axis, value, folder):
        more = f", or {axis.other}" if axis.other else ""
        raise InputError(
            f"{where}: {shortened(repr(value), 60)} is not a value of {name}; "
            f"{known(axis.choices)}{more}"
        )
    if path is not None:
        _check_file(name, path, where, folder)
    if name == "columns":
        parse_columns(value, where)
    if name == "lane" and (len(value) > _LONGEST_LANE or not value.isprintable()):
        raise InputError(
            f"{where}: the lane {shortened(plain(value), 40)!r} is no name; give at most "
            f"{_LONGEST_LANE} printable characters"
        )
    return _one_way(axis, value)


def _one_way(axis: Axis, value: str) -> str:
    """Names in any order are one value."""
    if axis.name == "lora_targets" and value not in axis.choices:
        return "+".join(sorted(set(value.split("+"))))
    return value
