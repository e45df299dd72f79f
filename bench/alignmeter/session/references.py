"""Where a cell's reference comes from: the package, this machine's cache, or a CPU worker now."""

__all__ = ["Obtained", "obtain_reference"]

import contextlib
from dataclasses import dataclass

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Obtained:
    """A reference, or ``why`` there is none; ``failure``: the code of what ended its worker."""

    reference: Reference | None = None
    why: str = ""
    failure: str | None = None


def obtain_reference(cell: Cell, *, seed: int, launcher: Launcher, timeout_s: float) -> Obtained:
    """The cell's reference, or why there is none. Raises no `CellError`, and `InputError` where
    the cell's data cannot be shared.
    """
    cell = checked_cell(cell)
    layers, rounded = sliced_layers(cell), is_rounded(cell)
    key = reference_key(
        cell, open_method(cell.method).hyperparameters, seed=seed, layers=layers, rounded=rounded
    )
    found = packaged_references().get(key)
    if found is not None:
        return Obtained(reference=found)
    if is_reference(cell):
        text = "unchecked: this cell is computed as the reference is, and none is packaged"
        return Obtained(why=text)
    path = cached_references() / f"{key}.json"
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        found = msgspec.json.decode(path.read_bytes(), type=Reference)
        if found.silent_adapters is not None:  # older versions did not look
            return Obtained(reference=found)
    try:
        found = _computed(cell, seed, layers, rounded, launcher, timeout_s)
    except CellError as error:
        text = f"unchecked: no reference: {error.code}: {error.text}"
        return Obtained(why=text, failure=error.code)
    with contextlib.suppress(InputError):  # a home that cannot be written costs a repetition only
        write_bytes(path, msgspec.json.encode(found))
    return Obtained(reference=found)


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
