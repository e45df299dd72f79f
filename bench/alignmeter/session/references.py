"""Where a cell's reference comes from: the package, this machine's cache, or a CPU worker now."""

__all__ = ["obtain_reference"]

import contextlib

import msgspec

from alignmeter.batches import share_rows
from alignmeter.cells.cell import Cell
from alignmeter.errors import CellError, InputError
from alignmeter.methods import open_method
from alignmeter.records.folder import write_bytes
from alignmeter.records.reference import (
    Reference,
    cached_references,
    packaged_references,
    reference_key,
)
from alignmeter.session.launcher import Launcher
from alignmeter.worker.agreement import checked_cell, is_reference, is_rounded, sliced_layers


def obtain_reference(
    cell: Cell, *, seed: int, launcher: Launcher, timeout_s: float
) -> tuple[Reference | None, str]:
    """The cell's reference, or ``None`` and why there is none. Never raises for the cell's sake."""
    cell = checked_cell(cell)
    layers, rounded = sliced_layers(cell), is_rounded(cell)
    key = reference_key(
        cell, open_method(cell.method).hyperparameters, seed=seed, layers=layers, rounded=rounded
    )
    found = packaged_references().get(key)
    if found is not None:
        return found, ""
    if is_reference(cell):
        return None, "unchecked: this cell is computed as the reference is, and none is packaged"
    path = cached_references() / f"{key}.json"
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        found = msgspec.json.decode(path.read_bytes(), type=Reference)
        if found.silent_adapters is not None:  # older versions did not look
            return found, ""
    try:
        found = _computed(cell, seed, layers, rounded, launcher, timeout_s)
    except CellError as error:
        return None, f"unchecked: no reference: {error.code}: {error.text}"
    with contextlib.suppress(InputError):  # a home that cannot be written costs a repetition only
        write_bytes(path, msgspec.json.encode(found))
    return found, ""


def _computed(
    cell: Cell,
    seed: int,
    layers: int | None,
    rounded: bool,
    launcher: Launcher,
    timeout_s: float,
) -> Reference:
    worker = launcher.start()
    try:
        found: Reference = worker.call(
            "reference", cell, seed, layers, rounded, share_rows(cell), timeout_s=timeout_s
        )
    except BaseException:
        worker.kill()
        raise
    worker.close()
    return found
