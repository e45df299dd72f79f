"""Options that several commands share."""

__all__ = ["axis_options", "measure_options"]

from collections.abc import Callable
from typing import Any

import click

from alignmeter.cells.axes import AXES, Axis
from alignmeter.telemetry.sampler import DEFAULT_HZ

Command = Callable[..., Any]


def _help(axis: Axis) -> str:
    known = f" [{', '.join(axis.choices)}]" if axis.choices else ""
    default = f" (default {axis.default})" if axis.default is not None else ""
    return axis.help + known + default


def axis_options(command: Command) -> Command:
    """One option per axis, its values separated by commas."""
    for axis in reversed(AXES.values()):
        metavar = "N" if axis.integer else "NAME"
        command = click.option(axis.flag, axis.name, metavar=metavar, help=_help(axis))(command)
    return command


def measure_options(command: Command) -> Command:
    """How a replicate is measured."""
    options = (
        click.option("--steps", type=click.IntRange(1), help="Timed steps per replicate."),
        click.option("--warmup", type=click.IntRange(1), help="Least warm-up steps before them."),
        click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything."),
        click.option(
            "--timeout",
            type=click.FloatRange(min=0, min_open=True),
            default=600.0,
            show_default=True,
            metavar="SEC",
            help="Time limit of one replicate.",
        ),
        click.option(
            "--operators",
            is_flag=True,
            help="Profile one more step: seconds in attention, scan, convolution, rest.",
        ),
        click.option(
            "--sample-hz",
            type=click.FloatRange(0, 1000),
            default=DEFAULT_HZ,
            show_default=True,
            metavar="HZ",
            help="Readings of power, memory and clocks per second; 0 for none.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command
