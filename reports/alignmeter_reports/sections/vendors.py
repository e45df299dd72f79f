"""The same cell on different accelerators, side by side."""

__all__ = ["VendorCell", "VendorRow", "VendorView", "vendor_view"]

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from alignmeter.analysis.capacity import search_key
from alignmeter.analysis.claims.ratios import metric_ratio
from alignmeter.analysis.device_agreement import CrossCheck, checks_by_row, crosschecks
from alignmeter.analysis.intervals import Estimate
from alignmeter.analysis.likeness import Group, current
from alignmeter.analysis.pairings import across_devices
from alignmeter.cells.labels import cell_text
from alignmeter.records.capacity import CapacityPoint
from alignmeter.records.record import Record
from alignmeter.registry import ACCELERATORS
from alignmeter_reports.cells import CellRow, cell_rows

_MOST = 100
"""Cells that a page shows side by side; the CSV has all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VendorRow:
    """One device's figures of a cell. ``ratio``: its step time over that of the first row, as text.

    ``batch``: pairs per step. ``largest``: the largest batch that ran, where it was searched.
    ``agreement``: with the other devices of the cell. ``kernels``: path per operator.
    """

    row: CellRow
    ratio: str
    batch: int
    largest: int | None
    agreement: list[CrossCheck]
    kernels: str


@dataclass(frozen=True, kw_only=True, slots=True)
class VendorCell:
    """A cell that several devices have measured, the first being what the others are held to."""

    name: str
    rows: list[VendorRow]


@dataclass(frozen=True, kw_only=True, slots=True)
class VendorView:
    """``fixed``: at equal batch. ``best``: each device at the batch of its own that trains the most
    tokens per s. ``hidden``: cells that found no room.
    """

    fixed: list[VendorCell]
    best: list[VendorCell]
    hidden: int


def vendor_view(
    records: Sequence[Record], cells: Sequence[Group], points: Sequence[CapacityPoint]
) -> VendorView:
    """Empty where no cell was measured on two devices. ``cells``: the records by cell."""
    groups = [group for group in current(cells) if group.ran]
    several = {(group.cell.accelerator, group.device) for group in groups}
    if len(several) < 2:
        return VendorView(fixed=[], best=[], hidden=0)
    checks = checks_by_row(crosschecks(records, cells))
    largest = _largest(points)
    fixed = [_cell(alike, checks, largest) for alike in across_devices(groups)]
    best = [_cell(alike, checks, largest, batch=True) for alike in _at_best(groups)]
    return VendorView(
        fixed=fixed[:_MOST],
        best=best[:_MOST],
        hidden=max(0, len(fixed) - _MOST) + max(0, len(best) - _MOST),
    )


def _at_best(groups: Iterable[Group]) -> list[list[Group]]:
    """Cells alike in all but accelerator and batch, each device at its best batch.

    Only where at least one device was measured at several batches, else it says nothing new.
    """
    families: dict[tuple[object, ...], dict[str, list[Group]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for group in groups:
        families[group.cell.without("accelerator", "batch")][group.device].append(group)
    chosen = [
        [max(mine, key=_rate) for mine in devices.values()]
        for devices in families.values()
        if len(devices) > 1 and any(len({g.cell.batch for g in m}) > 1 for m in devices.values())
    ]
    return [groups for groups in chosen if all(_rate(group) > 0 for group in groups)]


def _rate(group: Group) -> float:
    """Trained tokens per s; 0 where time is invalid."""
    row = cell_rows([group])[0]
    return 0.0 if "time" in row.invalid else row.trained_per_s or 0.0


def _cell(
    alike: Sequence[Group],
    checks: Mapping[tuple[str, str], list[CrossCheck]],
    largest: Mapping[tuple[object, ...], int],
    *,
    batch: bool = False,
) -> VendorCell:
    ordered = sorted(alike, key=_order)
    first = ordered[0]
    without = ("batch",) if batch else ()
    return VendorCell(
        name=cell_text(first.cell, without=without),
        rows=[
            VendorRow(
                row=cell_rows([group])[0],
                ratio="1" if group is first else _ratio(first, group, by_token=batch),
                batch=group.cell.batch,
                largest=largest.get((group.device, search_key(group.cell, "batch"))),
                agreement=checks.get((group.cell.id, group.device), []),
                kernels=_kernels(group),
            )
            for group in ordered
        ],
    )


def _order(group: Group) -> tuple[int, str, str]:
    known = list(ACCELERATORS)
    name = group.cell.accelerator
    return known.index(name) if name in known else len(known), group.device, group.cell.id


def _ratio(first: Group, other: Group, *, by_token: bool) -> str:
    """Of step times; at unlike batches of trained tokens per s instead."""
    ratio, why = metric_ratio(first, other, "tokens" if by_token else "time")
    return f"excluded ({why})" if ratio is None else _figure(ratio)


def _figure(ratio: Estimate) -> str:
    if ratio.low is None or ratio.high is None:
        return f"{ratio.value:.3f}, no interval below 3 replicates"
    return f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"


def _kernels(group: Group) -> str:
    paths = {
        name: path
        for record in group.records
        for name, path in record.provenance.kernel_path.items()
    }
    return ", ".join(f"{name}: {path}" for name, path in sorted(paths.items()))


def _largest(points: Iterable[CapacityPoint]) -> dict[tuple[object, ...], int]:
    """(Device, what was searched) -> the largest batch that ran in the device's own memory."""
    return {
        (point.provenance.device, search_key(point.cell, "batch")): point.largest
        for point in points
        if point.provenance is not None
        and point.axis == "batch"
        and point.largest is not None
        and not point.limit_given
    }
