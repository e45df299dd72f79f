"""Matrix files: TOML in, an ordered list of axis choices out."""

__all__ = ["Choice", "Matrix", "expand", "packaged_names", "read_matrix", "read_overrides"]

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Any

from alignmeter.cells.axes import AXES, AxisValue, check_value
from alignmeter.errors import InputError, known

_TOP = ("schema", "defaults", "grid", "exclude", "steps", "warmup", "operators")
Grid = dict[str, tuple[AxisValue, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrix:
    """A matrix file: grids whose products add up, and exclusions with their reasons.

    ``operators``: one more step of each replicate is profiled by family of operators.
    """

    name: str
    defaults: Grid
    grids: tuple[Grid, ...]
    excludes: tuple[tuple[Grid, str], ...]
    steps: int = 5
    warmup: int = 2
    operators: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """One point of the product: the axes that were named, and why it is excluded, if it is."""

    axes: dict[str, AxisValue]
    excluded: str | None


def packaged_names() -> list[str]:
    """Names of the matrices that come with the package."""
    folder = resources.files("alignmeter.cells") / "matrices"
    return sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".toml"))


def read_matrix(name_or_path: str) -> Matrix:
    """The packaged matrix of that name, or the TOML file at that path.

    Raises `InputError` naming the file and the key that is wrong.
    """
    if name_or_path in packaged_names():
        text = (
            resources.files("alignmeter.cells") / "matrices" / f"{name_or_path}.toml"
        ).read_text()
        return _parse(name_or_path, f"matrix {name_or_path}", text)
    path = Path(name_or_path)
    if not path.is_file():
        raise InputError(
            f"matrix {name_or_path!r} is neither a file nor a packaged matrix; "
            f"{known(packaged_names())}"
        )
    try:
        return _parse(path.stem, str(path), path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error})") from error


def _parse(name: str, where: str, text: str) -> Matrix:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where}: not valid TOML: {error}") from error
    for key in document:
        if key not in _TOP:
            raise InputError(f"{where}: unknown key {key!r}; {known(_TOP)}")
    if document.get("schema") != 1:
        raise InputError(
            f"{where}: schema is {document.get('schema')!r}; this version reads schema = 1"
        )
    grids = _tables(document, "grid", where)
    return Matrix(
        name=name,
        defaults=_grid(_table(document, "defaults", where), f"{where}: [defaults]"),
        grids=tuple(_grid(g, f"{where}: [[grid]] {i}") for i, g in enumerate(grids, 1)) or ({},),
        excludes=tuple(
            _exclude(e, f"{where}: [[exclude]] {i}")
            for i, e in enumerate(_tables(document, "exclude", where), 1)
        ),
        steps=_count(document, "steps", 5, 1, where),
        warmup=_count(document, "warmup", 2, 0, where),
        operators=_switch(document, "operators", where),
    )


def _count(document: Mapping[str, Any], key: str, default: int, least: int, where: str) -> int:
    value = document.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{where}: {key} is {value!r}; give a whole number of at least {least}")
    return value


def _switch(document: Mapping[str, Any], key: str, where: str) -> bool:
    value = document.get(key, False)
    if not isinstance(value, bool):
        raise InputError(f"{where}: {key} is {value!r}; give true or false")
    return value


def _table(document: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    table = document.get(key, {})
    if not isinstance(table, dict):
        raise InputError(f"{where}: {key} must be a table, written [{key}]")
    return table


def _tables(document: Mapping[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    tables = document.get(key, [])
    if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        raise InputError(f"{where}: {key} must be an array of tables, written [[{key}]]")
    return tables


def _grid(table: Mapping[str, Any], where: str) -> Grid:
    grid: Grid = {}
    for name, values in table.items():
        listed = values if isinstance(values, list) else [values]
        if not listed:
            raise InputError(f"{where}: {name} is an empty list; give at least one value")
        grid[name] = tuple(check_value(name, value, where) for value in listed)
    return grid


def _exclude(table: Mapping[str, Any], where: str) -> tuple[Grid, str]:
    reason = table.get("reason")
    if not isinstance(reason, str) or not reason:
        raise InputError(f"{where}: reason is missing; say why the combination is left out")
    return _grid({k: v for k, v in table.items() if k != "reason"}, where), reason


def read_overrides(flags: Mapping[str, str | None]) -> Grid:
    """Axis name -> values, from comma-separated flag texts; ``None`` is a flag not given.

    Raises `InputError` naming the flag.
    """
    overrides: Grid = {}
    for name, text in flags.items():
        if text is not None:
            flag = AXES[name].flag
            values = [part.strip() for part in text.split(",")]
            overrides[name] = tuple(check_value(name, value, flag) for value in values)
    return overrides


def expand(matrix: Matrix, overrides: Mapping[str, Sequence[AxisValue]]) -> list[Choice]:
    """The product of each grid, in file order, without repeats.

    ``overrides`` (axis flags) replace that axis in every grid.
    """
    choices: list[Choice] = []
    seen: set[tuple[tuple[str, AxisValue], ...]] = set()
    for grid in matrix.grids:
        merged = {**matrix.defaults, **grid, **{k: tuple(v) for k, v in overrides.items()}}
        names = [name for name in AXES if name in merged]
        for values in product(*(merged[name] for name in names)):
            axes = dict(zip(names, values, strict=True))
            key = tuple(axes.items())
            if key not in seen:
                seen.add(key)
                choices.append(Choice(axes=axes, excluded=_excluded(matrix, axes)))
    return choices


def _excluded(matrix: Matrix, axes: Mapping[str, AxisValue]) -> str | None:
    for grid, reason in matrix.excludes:
        if all(axes.get(name, AXES[name].default) in values for name, values in grid.items()):
            return reason
    return None
