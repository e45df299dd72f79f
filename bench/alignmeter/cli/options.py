"""Options that several commands share, and notes on them."""

__all__ = ["axis_options", "data_options", "measure_options", "note"]

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import click

from alignmeter.cells.axes import AXES, Axis
from alignmeter.cells.columns import BAD_ROWS, DROP
from alignmeter.cells.matrix import Matrix, read_matrix
from alignmeter.cells.settings import SETTINGS, default_words, kind_of
from alignmeter.streams import tell

Command = Callable[..., Any]
_IN_MATRIX = {field.name for field in dataclasses.fields(Matrix)}


class _AxisOption(click.Option):
    """An axis, whose help names the values that the command's own matrix gives it."""

    def __init__(self, names: Any, *, axis: Axis, **attributes: Any) -> None:
        super().__init__(names, help=axis.help, **attributes)
        self._axis = axis

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        return record and (record[0], f"{record[1]}{_values(self._axis, ctx.command)}")


def _values(axis: Axis, command: click.Command) -> str:
    known = f" [{', '.join(axis.choices)}]" if axis.choices else ""
    place = next((p.default for p in command.params if p.name == "matrix"), None)
    if place is None:  # of a command for one cell
        return known + (f" (default {axis.default})" if axis.default is not None else "")
    matrix = read_matrix(str(place))
    given = [grid.get(axis.name, matrix.defaults.get(axis.name, ())) for grid in matrix.grids]
    named = dict.fromkeys(str(value) for values in given for value in values)
    if named:
        return f"{known} (default {', '.join(named)}, or the matrix's)"
    return known + (
        f" (default {axis.default}, or the matrix's)" if axis.default is not None else ""
    )


def note(sentence: str) -> None:
    """Tell on stderr what is no error, but may not be what was meant."""
    tell(f"Note: {sentence}")


def axis_options(command: Command) -> Command:
    """One option per axis, its values separated by commas."""
    for axis in reversed(AXES.values()):
        metavar = "N" if axis.integer else "NAME" if axis.several else "MAP"
        command = click.option(axis.flag, axis.name, cls=_AxisOption, axis=axis, metavar=metavar)(
            command
        )
    return command


def data_options(command: Command) -> Command:
    """What becomes of rows of --data that are no pair; the command gets it as ``bad_rows``."""
    return click.option(
        "--bad-rows",
        type=click.Choice(BAD_ROWS),
        default=DROP,
        show_default=True,
        help="Rows of --data with an empty answer or with equal ones: leave them out and count "
        "them, or refuse the file.",
    )(command)


def measure_options(command: Command) -> Command:
    """An option per setting; the command gets them as ``given``, for `read_settings`."""

    @functools.wraps(command)
    def collected(**arguments: Any) -> Any:
        given = {name: arguments.pop(name) for name in SETTINGS}
        return command(given=given, **arguments)

    decorated: Command = collected
    for name in reversed(SETTINGS):
        decorated = _setting_option(name)(decorated)
    return decorated


def _setting_option(name: str) -> Callable[[Command], Command]:
    setting, kind = SETTINGS[name], kind_of(name)
    if kind is bool:
        return click.option(setting.flag, name, is_flag=True, default=None, help=setting.help)
    place = ", or the matrix's" if name in _IN_MATRIX else ""
    limits: Any = {
        "min": setting.least if setting.above is None else setting.above,
        "max": setting.most,
        "min_open": setting.above is not None,
    }
    return click.option(
        setting.flag,
        name,
        type=(click.IntRange if kind is int else click.FloatRange)(**limits),
        metavar=setting.metavar or "N",
        help=f"{setting.help} (default {default_words(name)}{place})",
    )
