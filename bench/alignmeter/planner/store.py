"""Plans that were made already, by cell and version: a plan depends on nothing else."""

__all__ = ["known_prediction", "plan_cell", "plan_peak", "plans_folder"]

import contextlib
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path

import msgspec
from platformdirs import user_cache_path

from alignmeter.accelerators import devices_hidden
from alignmeter.accelerators.imported import imported_elsewhere, installed_versions
from alignmeter.accelerators.provenance import source_commit
from alignmeter.cells.cell import Cell, digest
from alignmeter.errors import InputError
from alignmeter.planner.layers import predict_peak, predict_soon
from alignmeter.records.folder import write_bytes
from alignmeter.records.prediction import Prediction

_VERSION = 5
"""Of the planner: a change of what it counts makes earlier plans void."""


def plans_folder() -> Path:
    """Folder of the plans made on this machine, one file ``<key>.json`` each."""
    return user_cache_path("alignmeter", appauthor=False) / "plans"


def _path(cell: Cell) -> Path:
    code = installed_versions(), imported_elsewhere(), source_commit()
    key = digest([_VERSION, msgspec.structs.asdict(cell), *code])
    return plans_folder() / f"{key}.json"


def known_prediction(cell: Cell) -> Prediction | None:
    """The stored plan of that cell by these versions; ``None`` if there is none."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(_path(cell).read_bytes(), type=Prediction)
    return None


def plan_cell(cell: Cell) -> Prediction:
    """The stored plan, or one of `predict_soon`, then stored. Raises what `predict` raises."""
    found = known_prediction(cell)
    if found is None:
        found = _made(predict_soon, cell)
        with contextlib.suppress(InputError):  # a home that cannot be written costs a repetition
            write_bytes(_path(cell), msgspec.json.encode(found))
    return found


def plan_peak(cell: Cell) -> Prediction:
    """The same sooner, without ``reserved_bytes``: see `predict_peak`. The stored plan wins.

    It is not stored, for most plans have that figure; within this process it is kept.
    """
    found = known_prediction(cell)
    return _peak(cell) if found is None else found


@cache
def _peak(cell: Cell) -> Prediction:
    return _made(predict_peak, cell)


def _made(how: Callable[[Cell], Prediction], cell: Cell) -> Prediction:
    with devices_hidden():  # some libraries open one when they are imported
        # The workers' imports, with what their libraries log on import kept quiet.
        import_module("alignmeter.worker.preload")
        return how(cell)
