"""What `pytest --benchmark` is told: an option per axis and per setting, and how to measure."""

__all__ = ["Asked", "add_options", "read_asked", "settings_for"]

from dataclasses import dataclass
from pathlib import Path

import pytest

from alignmeter.capacity.limits import read_memory_limit
from alignmeter.cells.axes import AXES, AxisValue
from alignmeter.cells.columns import BAD_ROWS, DROP
from alignmeter.cells.matrix import Matrix, read_overrides
from alignmeter.cells.settings import SETTINGS, Settings, kind_of, read_settings
from alignmeter.records.folder import default_folder

_FLAGS = {"timeout_s": "--cell-timeout"}
"""pytest-timeout has a ``--timeout`` of its own, for a test with all its fixtures."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """``overrides``: axis -> values. ``limit_bytes``: of the searches, if one was given."""

    folder: Path
    overrides: dict[str, tuple[AxisValue, ...]]
    limit_bytes: int | None
    bad_rows: str = DROP


def add_options(group: pytest.OptionGroup) -> None:
    """``--benchmark``, a flag per axis, and how to measure."""
    group.addoption("--benchmark", action="store_true", help="measure the cells of the suites")
    for axis in AXES.values():
        known = f" [{', '.join(axis.choices)}]" if axis.choices else ""
        text = (axis.help + known).replace("%", "%%")  # argparse formats its help texts
        group.addoption(axis.flag, dest=f"axis_{axis.name}", help=text)
    for name, setting in SETTINGS.items():
        flag, kind = _FLAGS.get(name, setting.flag), kind_of(name)
        if kind is bool:
            group.addoption(
                flag, dest=_dest(name), action="store_true", default=None, help=setting.help
            )
        else:
            group.addoption(flag, dest=_dest(name), type=kind, help=setting.help)
    group.addoption(
        "--no-plan", action="store_true", help="predict no memory first, and try what would not fit"
    )
    group.addoption(
        "--bad-rows",
        choices=BAD_ROWS,
        default=DROP,
        help="rows of --data that are no pair: leave them out and count them, or refuse the file",
    )
    group.addoption("--memory-limit", help="limit of bench_capacity's searches, e.g. 512MiB")
    group.addoption("--results", type=Path, help="folder of the records and the report")


def _dest(name: str) -> str:
    return f"setting_{name}"


def settings_for(config: pytest.Config, matrix: Matrix | None) -> Settings:
    """The settings for a matrix's cells. Raises `InputError` for one beyond its limits."""
    given = {name: config.getoption(_dest(name)) for name in SETTINGS}
    return read_settings(given, matrix, flags=_FLAGS)


def read_asked(config: pytest.Config) -> Asked:
    """Check all options. Raises `InputError` naming the one that is wrong."""
    settings_for(config, None)
    limit = config.getoption("memory_limit")
    return Asked(
        folder=config.getoption("results") or default_folder(),
        overrides=read_overrides({name: config.getoption(f"axis_{name}") for name in AXES}),
        limit_bytes=None if limit is None else read_memory_limit(limit),
        bad_rows=config.getoption("bad_rows"),
    )
