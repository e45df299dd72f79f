"""Matrix files: TOML in, an ordered list of axis choices out."""

__all__ = [
    "Choice",
    "Exclusion",
    "Grid",
    "Matrix",
    "expand",
    "packaged_names",
    "read_matrix",
    "read_overrides",
]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from alignmeter.cells.axes import AXES, PATHS, AxisValue, path_of
from alignmeter.cells.places import note_place
from alignmeter.cells.settings import DEFAULTS, SETTINGS
from alignmeter.cells.toml_document import decode_toml, read_toml
from alignmeter.cells.values import check_value
from alignmeter.errors import InputError, known
from alignmeter.text import plain, shortened, shown_path

_LONGEST_REASON = 200
"""Characters of an exclusion's reason that are shown."""

Grid = dict[str, tuple[AxisValue, ...]]
_Table = dict[str, Any]


def _count(name: str) -> Meta:
    setting = SETTINGS[name]
    return Meta(ge=setting.least, description=f"give a whole number of {setting.limits}")


class _Document(Struct, kw_only=True, forbid_unknown_fields=True):
    """The keys of a matrix file; the axes within its tables are checked by `check_value`."""

    defaults: Annotated[_Table, Meta(description="write a table, [defaults]")] = {}
    grid: Annotated[list[_Table], Meta(description="write an array of tables, [[grid]]")] = []
    exclude: Annotated[list[_Table], Meta(description="write an array of tables, [[exclude]]")] = []
    steps: Annotated[int, _count("steps")] = DEFAULTS.steps
    warmup: Annotated[int, _count("warmup")] = DEFAULTS.warmup
    operators: Annotated[bool, Meta(description="give true or false")] = DEFAULTS.operators


@dataclass(frozen=True, kw_only=True, slots=True)
class Exclusion:
    """Cells with one of the values on each of these axes are left out, for ``reason``.

    ``where``: file and number, for messages. ``folder``: what its paths are relative to.
    """

    where: str
    axes: Grid
    reason: str
    folder: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrix:
    """A matrix file: grids whose products add up, and exclusions with their reasons.

    ``where`` names it in messages; ``folder`` is where it lies, ``None`` of a packaged one.
    ``operators``: one more step of each replicate is profiled by family of operators.
    """

    name: str
    where: str
    folder: Path | None
    defaults: Grid
    grids: tuple[Grid, ...]
    excludes: tuple[Exclusion, ...]
    steps: int = DEFAULTS.steps
    warmup: int = DEFAULTS.warmup
    operators: bool = DEFAULTS.operators


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """One point of the product: the axes that were named, and what may exclude its cell.

    ``grid``: which of the matrix's grids it is of, from 0.
    """

    axes: dict[str, AxisValue]
    grid: int = 0
    exclusions: tuple[Exclusion, ...] = ()


def packaged_names() -> list[str]:
    """Names of the matrices that come with the package."""
    folder = resources.files("alignmeter.cells") / "matrices"
    return sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".toml"))


def read_matrix(name_or_path: str | Path, folder: Path | None = None) -> Matrix:
    """The packaged matrix of that name, or the TOML file at that path.

    A packaged name wins over a file of that name, which is given as ``./quick`` or with its suffix.
    ``folder``: of the file that names it, which the path is relative to; ``None`` for the working
    directory. Raises `InputError` naming the file and the key that is wrong.
    """
    name = str(name_or_path)
    if name in packaged_names():
        place = resources.files("alignmeter.cells") / "matrices" / f"{name}.toml"
        where = f"matrix {name}"
        return _matrix(name, decode_toml(place.read_bytes(), _Document, where), where, None)
    path = Path(name) if folder is None else folder / name
    if not path.is_file():
        beside = "" if folder is None else f" in {folder}"
        raise InputError(
            f"matrix {name!r} is neither a file{beside} nor a packaged matrix; "
            f"{known(packaged_names())}"
        )
    return _matrix(path.stem, read_toml(path, _Document), str(path), path.parent)


def _matrix(name: str, document: _Document, where: str, folder: Path | None) -> Matrix:
    return Matrix(
        name=name,
        where=where,
        folder=folder,
        defaults=_grid(document.defaults, f"{where}: [defaults]", folder),
        grids=tuple(
            _grid(g, f"{where}: [[grid]] {i}", folder) for i, g in enumerate(document.grid, 1)
        )
        or ({},),
        excludes=tuple(
            _exclude(e, f"{where}: [[exclude]] {i}", folder)
            for i, e in enumerate(document.exclude, 1)
        ),
        steps=document.steps,
        warmup=document.warmup,
        operators=document.operators,
    )


def _grid(table: Mapping[str, Any], where: str, folder: Path | None) -> Grid:
    grid: Grid = {}
    for name, values in table.items():
        listed = values if isinstance(values, list) else [values]
        if not listed:
            raise InputError(f"{where}: {name} is an empty list; give at least one value")
        grid[name] = tuple(check_value(name, value, where, folder) for value in listed)
    return grid


def _exclude(table: Mapping[str, Any], where: str, folder: Path | None) -> Exclusion:
    reason = table.get("reason")
    if not isinstance(reason, str) or not reason:
        raise InputError(f"{where}: reason is missing; say why the combination is left out")
    axes = _grid({k: v for k, v in table.items() if k != "reason"}, where, folder)
    said = shortened(" ".join(plain(reason).split()), _LONGEST_REASON)
    return Exclusion(where=where, axes=axes, reason=said, folder=folder)


def read_overrides(flags: Mapping[str, str | None]) -> Grid:
    """Axis name -> values, from comma-separated flag texts; ``None`` is a flag not given.

    Raises `InputError` naming the flag.
    """
    overrides: Grid = {}
    for name, text in flags.items():
        if text is not None:
            flag = AXES[name].flag
            parts = text.split(",") if AXES[name].several else [text]
            if name in PATHS:
                parts = _paths(parts, flag)
            overrides[name] = tuple(check_value(name, part.strip(), flag) for part in parts)
    return overrides


def _paths(parts: Sequence[str], flag: str) -> list[str]:
    """The parts; those that are a path together are one, for a name may hold commas.

    Raises `InputError` where they are paths one by one as well.
    """
    found, i = [], 0
    while i < len(parts):
        ends = range(len(parts), i + 1, -1)
        end = next((end for end in ends if _there(",".join(parts[i:end]).strip())), i + 1)
        whole, within = ",".join(parts[i:end]), [part.strip() for part in parts[i:end]]
        if len(within) > 1 and all(map(_there, within)):
            raise InputError(
                f"{flag}: {shown_path(whole, 80)!r} is one path and {len(within)} paths with "
                "commas between them; rename one, or list them in a matrix file"
            )
        found.append(whole)
        i = end
    return found


def _there(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # a name that no file system takes
        return False


def expand(matrix: Matrix, overrides: Mapping[str, Sequence[AxisValue]]) -> list[Choice]:
    """The product of each grid, in file order, without repeats.

    ``overrides`` (axis flags) replace that axis in every grid. Raises `InputError` for a path that
    already means another place.
    """
    choices: list[Choice] = []
    seen: set[tuple[tuple[str, AxisValue], ...]] = set()
    for number, grid in enumerate(matrix.grids):
        merged = {**matrix.defaults, **grid, **{k: tuple(v) for k, v in overrides.items()}}
        for name in PATHS:
            folder = None if name in overrides else matrix.folder
            for value in merged.get(name, ()):
                path = path_of(name, value)
                if path is not None:
                    note_place(path, folder or Path())
        names = [name for name in AXES if name in merged]
        for values in product(*(merged[name] for name in names)):
            axes = dict(zip(names, values, strict=True))
            key = tuple(axes.items())
            if key not in seen:
                seen.add(key)
                choices.append(Choice(axes=axes, grid=number, exclusions=matrix.excludes))
    return choices
