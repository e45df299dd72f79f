"""The cells of each class, resolved by a process of its own: who submits imports no torch.

``python -m alignmeter.lab.planned LAB.toml CLASS ...`` prints them as JSON.
"""

__all__ = ["ClassPlan", "LeftOut", "plan_classes"]

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from alignmeter.cells.cell import Cell
from alignmeter.cells.matrix import Matrix, read_matrix
from alignmeter.cells.settings import Settings, read_settings
from alignmeter.children import module_command
from alignmeter.errors import InputError
from alignmeter.lab.lab_file import Lab, read_lab
from alignmeter.records.reasons import Reason

_AUTO = "auto"
_WRONG = 2


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """A cell that no machine measures, and why."""

    cell: Cell
    reason: Reason


class ClassPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a class measures.

    ``folder``: of its matrix. ``notes``: sentences on what may not be what was meant.
    """

    cells: list[Cell]
    left_out: list[LeftOut] = []
    settings: Settings
    folder: str
    notes: list[str] = []


_Plans = dict[str, ClassPlan]


def plan_classes(lab: Lab) -> _Plans:
    """Class -> its cells. Raises `InputError` for what is wrong with their matrices."""
    done = subprocess.run(  # noqa: S603 - our own interpreter, no shell
        module_command(__name__, lab.where, *lab.classes),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
    if done.returncode == _WRONG:
        raise InputError(said[-1])
    if done.returncode:
        raise RuntimeError(f"planning ended with status {done.returncode}: {said[-1]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=_Plans)


def _plan(lab: Lab, name: str) -> ClassPlan:
    from alignmeter.session import plan_matrix

    chosen = lab.classes[name]
    matrix = _of_accelerator(
        read_matrix(chosen.matrix or lab.matrix, lab.folder), chosen.accelerator
    )
    if not matrix.grids:
        raise InputError(
            f"{lab.where}: [class.{name}]: no grid of {matrix.where} names {chosen.accelerator}; "
            'leave accelerator out of the matrix, or write "auto"'
        )
    notes: list[str] = []
    keep: Callable[[str], None] = notes.append
    overrides = {"accelerator": (chosen.accelerator,), "lane": (chosen.lane,)}
    plan = plan_matrix(matrix, overrides, keep)
    return ClassPlan(
        cells=[planned.cell for planned in plan if planned.contradiction is None],
        left_out=[
            LeftOut(cell=planned.cell, reason=planned.contradiction)
            for planned in plan
            if planned.contradiction is not None
        ],
        settings=read_settings({}, matrix),
        folder=str((matrix.folder or Path()).resolve()),
        notes=notes,
    )


def _of_accelerator(matrix: Matrix, accelerator: str) -> Matrix:
    """Without the grids that name other accelerators only."""
    named = [
        (grid, grid.get("accelerator", matrix.defaults.get("accelerator", (_AUTO,))))
        for grid in matrix.grids
    ]
    grids = tuple(grid for grid, names in named if {_AUTO, accelerator}.intersection(names))
    return dataclasses.replace(matrix, grids=grids)


def _main() -> int:
    try:
        lab = read_lab(Path(sys.argv[1])).only(tuple(sys.argv[2:]))
        found = {name: _plan(lab, name) for name in lab.classes}
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return _WRONG
    sys.stdout.write(f"\n{msgspec.json.encode(found).decode()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(_main())
