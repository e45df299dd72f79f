"""What `pytest --benchmark` is told: an option per axis and per setting, and how to measure.

Each has a second spelling, ``--alignmeter-method`` for ``--method``. Where another plugin or a
conftest has an option of ours, `alignmeter.plugin.prefixed` takes the second spellings alone.
"""

__all__ = ["PREFIX", "Asked", "add_options", "option", "read_asked", "settings_for"]

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from alignmeter.capacity.limits import read_memory_limit
from alignmeter.cells.axes import AXES, AxisValue
from alignmeter.cells.columns import BAD_ROWS, DROP
from alignmeter.cells.matrix import Matrix, read_overrides
from alignmeter.cells.settings import SETTINGS, Settings, kind_of, read_settings
from alignmeter.errors import InputError
from alignmeter.records.folder import default_folder

PREFIX = "--alignmeter-"
_FLAGS = {"timeout_s": "--cell-timeout"}
"""pytest-timeout has a ``--timeout`` of its own, for a test with all its fixtures."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """``overrides``: axis -> values. ``limit_bytes``: of the searches, if one was given.

    ``replicates``: of each cell.
    """

    folder: Path
    overrides: dict[str, tuple[AxisValue, ...]]
    limit_bytes: int | None
    replicates: int
    bad_rows: str = DROP


def add_options(group: pytest.OptionGroup, *, short: bool) -> None:
    """``--benchmark``, a flag per axis, and how to measure; ``short``: in both spellings."""
    for flag, about in _options():
        names = [PREFIX + flag.removeprefix("--")]
        # A conftest may call a value as pytest would call ours: argparse lets it set both.
        dest = names[0].removeprefix("--").replace("-", "_")
        group.addoption(*([flag] if short else []), *names, **{"dest": dest, **about})


def option(config: pytest.Config, flag: str) -> Any:
    """The value of the option that is called so, whichever spellings there are."""
    return config.getoption(PREFIX + flag.removeprefix("--"))


def _options() -> Iterator[tuple[str, dict[str, Any]]]:
    """Flag and argparse's keywords of each."""
    yield "--benchmark", {"action": "store_true", "help": "measure the cells of the suites"}
    for axis in AXES.values():
        known = f" [{', '.join(axis.choices)}]" if axis.choices else ""
        text = (axis.help + known).replace("%", "%%")  # argparse formats its help texts
        yield axis.flag, {"dest": f"alignmeter_axis_{axis.name}", "help": text}
    for name, setting in SETTINGS.items():
        kind = kind_of(name)
        how: dict[str, Any] = {"type": kind}
        if kind is bool:
            how = {"action": "store_true", "default": None}
        dest = f"alignmeter_setting_{name}"
        yield _flag(name), {"dest": dest, "help": setting.help, **how}
    yield "--replicates", {"type": int, "default": 1,
                           "help": "fresh processes per cell; an interval needs 3"}  # fmt: skip
    yield "--no-plan", {"action": "store_true",
                        "help": "predict no memory first, and try what would not fit"}  # fmt: skip
    yield "--bad-rows", {"choices": BAD_ROWS, "default": DROP,
                         "help": "rows of --data that are no pair: leave them out and count them, "
                         "or refuse the file"}  # fmt: skip
    yield "--memory-limit", {"help": "limit of bench_capacity's searches, e.g. 512MiB"}
    yield "--results", {"type": Path, "help": "folder of the records and the report"}


def _flag(setting: str) -> str:
    return _FLAGS.get(setting, SETTINGS[setting].flag)


def settings_for(config: pytest.Config, matrix: Matrix | None) -> Settings:
    """The settings for a matrix's cells. Raises `InputError` for one beyond its limits."""
    given = {name: option(config, _flag(name)) for name in SETTINGS}
    return read_settings(given, matrix, flags=_FLAGS)


def read_asked(config: pytest.Config) -> Asked:
    """Check all options. Raises `InputError` naming the one that is wrong."""
    settings_for(config, None)
    limit, replicates = option(config, "--memory-limit"), option(config, "--replicates")
    if replicates < 1:
        raise InputError(f"--replicates is {replicates}; give at least 1")
    return Asked(
        folder=option(config, "--results") or default_folder(),
        overrides=read_overrides({name: option(config, axis.flag) for name, axis in AXES.items()}),
        limit_bytes=None if limit is None else read_memory_limit(limit),
        replicates=replicates,
        bad_rows=option(config, "--bad-rows"),
    )
