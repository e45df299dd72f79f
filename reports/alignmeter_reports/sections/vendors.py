"""The same cell on different devices: a row per cell, a group of columns per device."""

__all__ = [
    "VendorDevice", "VendorFigures", "VendorRow", "VendorTable", "VendorView",
    "vendor_view",
]  # fmt: skip

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from alignmeter.analysis.capacity import search_key
from alignmeter.analysis.claims.ratios import metric_ratio
from alignmeter.analysis.cost import price_of
from alignmeter.analysis.device_agreement import CrossCheck, checks_by_row, crosschecks
from alignmeter.analysis.hardware import (
    Hardware,
    first_of_each,
    hardware_of,
    newest_of_each,
    side_by_side,
)
from alignmeter.analysis.intervals import LEAST_REPLICATES, Estimate
from alignmeter.analysis.likeness import Group
from alignmeter.analysis.prices import Prices
from alignmeter.cells.naming import Naming
from alignmeter.records.capacity import CapacityPoint
from alignmeter.records.record import Provenance, Record
from alignmeter.text import counted
from alignmeter_reports.cells import CellRow, Column, cell_rows

_MOST = 100
"""Cells that a page shows side by side; the CSV has all."""
_ITSELF = "1"
"""Ratio of the first device, to which the others are."""
_STEPS, _MILLION = 1000, 1e6
"""Steps that a price is of, and trained tokens that the table's is of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VendorDevice:
    """One group of columns. ``facts``: form factor, cap, threads, driver, runtime, in words.

    ``columns``: those in which the device has something to say of some cell.
    """

    name: str
    facts: str
    columns: list[Column]


@dataclass(frozen=True, kw_only=True, slots=True)
class VendorFigures:
    """One device's figures of a cell.

    ``ratio``: to the first device that has the cell, as text, with its ``interval``, or why it
    is excluded. ``batch``: pairs per step. ``largest``: the largest batch that ran, where it was
    searched. ``per_million``: price of a million trained tokens. ``agreement``: with the other
    devices of the cell. ``kernels``: the paths that its operators took; ``paths``: of each.
    """

    row: CellRow
    ratio: str
    interval: str
    batch: int
    largest: int | None
    per_million: float | None
    starred: bool
    agreement: list[CrossCheck]
    kernels: str
    paths: str


@dataclass(frozen=True, kw_only=True, slots=True)
class VendorRow:
    """A cell, and its figures on each device of the table, ``None`` where it was not measured."""

    name: str
    figures: list[VendorFigures | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class VendorTable:
    """``shared``: what all cells have in common."""

    devices: list[VendorDevice]
    shared: str
    rows: list[VendorRow]


@dataclass(frozen=True, kw_only=True, slots=True)
class VendorView:
    """``fixed``: at equal batch. ``best``: each device at the batch of its own that trains the most
    tokens per s. ``None`` where there is no such cell. ``hidden``: cells that found no room.
    """

    fixed: VendorTable | None
    best: VendorTable | None
    hidden: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sources:
    """What the figures of every row are looked up in."""

    rows: Mapping[int, CellRow]
    checks: Mapping[tuple[str, str], list[CrossCheck]]
    largest: Mapping[tuple[object, ...], int]
    prices: Prices | None


def vendor_view(
    records: Sequence[Record],
    cells: Sequence[Group],
    points: Sequence[CapacityPoint],
    prices: Prices | None = None,
) -> VendorView:
    """Empty where no cell was measured on two devices. ``cells``: the records by cell."""
    groups = newest_of_each(cells)
    if len({hardware_of(group) for group in groups}) < 2:
        return VendorView(fixed=None, best=None, hidden=0)
    rows = dict(zip(map(id, groups), cell_rows(groups), strict=True))
    sources = _Sources(
        rows=rows,
        checks=checks_by_row(crosschecks(records, cells)),
        largest=_largest(points),
        prices=prices,
    )
    fixed, best = side_by_side(groups), _at_best(groups, rows)
    return VendorView(
        fixed=_table(fixed[:_MOST], sources, by_token=False),
        best=_table(best[:_MOST], sources, by_token=True),
        hidden=max(0, len(fixed) - _MOST) + max(0, len(best) - _MOST),
    )


def _at_best(groups: Iterable[Group], rows: Mapping[int, CellRow]) -> list[list[Group]]:
    """Cells alike in all but accelerator and batch, each device at its best batch.

    Only where at least one device was measured at several batches, else it says nothing new.
    """

    def rate(group: Group) -> float:
        row = rows[id(group)]
        return 0.0 if "time" in row.invalid else row.trained_per_s or 0.0

    families: dict[object, dict[Hardware, list[Group]]] = defaultdict(lambda: defaultdict(list))
    for group in groups:
        families[group.cell.without("accelerator", "batch")][hardware_of(group)].append(group)
    chosen = [
        [max(mine, key=rate) for mine in devices.values()]
        for devices in families.values()
        if len(devices) > 1 and any(len(mine) > 1 for mine in devices.values())
    ]
    return [alike for alike in chosen if all(rate(group) > 0 for group in alike)]


def _table(
    families: Sequence[Sequence[Group]], sources: _Sources, *, by_token: bool
) -> VendorTable | None:
    if not families:
        return None
    firsts = first_of_each(group for alike in families for group in alike)
    naming = Naming(alike[0].cell for alike in families)
    rows = [
        VendorRow(
            name=naming.of(alike[0].cell, without=("batch",) if by_token else ()),
            figures=_figures(alike, list(firsts), sources, by_token=by_token),
        )
        for alike in families
    ]
    devices = [
        VendorDevice(
            name=group.device or group.cell.accelerator,
            facts=_facts(group.records[-1].provenance),
            columns=_columns([r.figures[k] for r in rows], sources.prices, by_token=by_token),
        )
        for k, group in enumerate(firsts.values())
    ]
    return VendorTable(devices=devices, shared=naming.shared, rows=rows)


def _facts(place: Provenance) -> str:
    cap = "" if place.power_cap_w is None else f"cap {place.power_cap_w:.0f} W"
    threads = "" if place.threads is None else counted(place.threads, "thread")
    driver = "" if place.driver is None else f"driver {place.driver}"
    found = (place.form_factor, place.partition, cap, threads, driver, place.runtime)
    return ", ".join(text for text in found if text)


def _figures(
    alike: Sequence[Group], devices: Sequence[Hardware], sources: _Sources, *, by_token: bool
) -> list[VendorFigures | None]:
    """In the order of the devices. Ratios are to the first that has the cell."""
    by_hardware = {hardware_of(group): group for group in alike}
    ordered = [by_hardware.get(device) for device in devices]
    first = next(group for group in ordered if group is not None)
    return [
        None if group is None else _of_device(first, group, sources, by_token=by_token)
        for group in ordered
    ]


def _of_device(first: Group, group: Group, sources: _Sources, *, by_token: bool) -> VendorFigures:
    row = sources.rows[id(group)]
    ratio, interval = (_ITSELF, "") if group is first else _ratio(first, group, by_token=by_token)
    paths = _paths(group)
    return VendorFigures(
        row=row,
        ratio=ratio,
        interval=interval,
        batch=group.cell.batch,
        largest=sources.largest.get((group.device, search_key(group.cell, "batch"))),
        per_million=_per_million(row, sources.prices),
        starred=bool({"time", "energy" if row.energy_j else "time"} & row.invalid.keys()),
        agreement=sources.checks.get((group.cell.id, group.device), []),
        kernels=", ".join(dict.fromkeys(paths.values())),
        paths=", ".join(f"{name}: {path}" for name, path in paths.items()),
    )


def _columns(
    figures: Sequence[VendorFigures | None], prices: Prices | None, *, by_token: bool
) -> list[Column]:
    """Those in which one device has something to say: none of ratios to itself."""
    found = [one for one in figures if one is not None]
    currency = "" if prices is None else prices.currency
    columns = (
        (by_token, "batch", "batch", False),
        (True, "time", "step time", False),
        (any(f.ratio != _ITSELF for f in found), "ratio",
         "tokens/s ratio" if by_token else "time ratio", False),
        (True, "peak", "peak memory", False),
        (any(f.row.energy_j for f in found), "energy", "energy per step", False),
        (prices is not None, "money", f"{currency} per 1M tokens", False),
        (True, "agree", "losses", False),
        (any(f.row.trained_per_s for f in found), "rate", "trained tokens/s", True),
        (any(f.kernels for f in found), "path", "kernel path", True),
        (any(f.largest is not None for f in found), "largest", "largest batch", True),
    )  # fmt: skip
    return [Column(key=key, head=head, more=more) for shown, key, head, more in columns if shown]


def _per_million(row: CellRow, prices: Prices | None) -> float | None:
    if row.time_s is None or not row.tokens:
        return None
    money = price_of(row.place, row.time_s.value, row.energy_j, prices, devices=row.devices)
    return None if money is None else money * _MILLION / (_STEPS * row.tokens)


def _ratio(first: Group, other: Group, *, by_token: bool) -> tuple[str, str]:
    """Of step times; at unlike batches of trained tokens per s instead."""
    ratio, why = metric_ratio(first, other, "tokens" if by_token else "time")
    return ("excluded", why) if ratio is None else _texts(ratio)


def _texts(ratio: Estimate) -> tuple[str, str]:
    if ratio.low is None or ratio.high is None:
        return f"{ratio.value:.3f}", f"no interval below {LEAST_REPLICATES} replicates"
    return f"{ratio.value:.3f}", f"{ratio.low:.3f} to {ratio.high:.3f}"


def _paths(group: Group) -> dict[str, str]:
    """Operator -> what ran, in order of its name."""
    paths = {
        name: path
        for record in group.records
        for name, path in record.provenance.kernel_path.items()
    }
    return dict(sorted(paths.items()))


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
