"""Which cells may be held against each other: alike in everything but what the claim is about."""

__all__ = ["CellGroup", "Pairing", "across_devices", "cell_groups", "cell_text", "pairings"]

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from alignmeter.analysis.likeness import Group
from alignmeter.analysis.metrics import METRICS
from alignmeter.analysis.sides import Side, side_of
from alignmeter.cells.cell import Cell
from alignmeter.records.record import Record

_PATHS = ("data", "model")
"""The same file may lie elsewhere on another machine; its digest stands in for it."""


@dataclass(kw_only=True, slots=True)
class CellGroup(Group):
    """The replicates of one cell in one environment of one device."""

    _sides: dict[str, Side] = field(default_factory=dict)

    def side(self, metric: str) -> Side:
        """What it has of a metric of `METRICS`: worked out once, since a cell has many partners."""
        if metric not in self._sides:
            self._sides[metric] = side_of(self, METRICS[metric])
        return self._sides[metric]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairing:
    """Two cells that differ in one axis. ``differing``: what else differs because of it, in words.

    ``base`` is what ``other`` is held against: ratios are other / base.
    """

    base: CellGroup
    other: CellGroup
    differing: str


def cell_groups(records: Iterable[Record]) -> list[CellGroup]:
    """Records by cell, device and environment, in order of id: the replicates of one row."""
    found: dict[tuple[str, str, str], CellGroup] = {}
    for record in records:
        place = record.provenance
        where = record.cell.id, place.device, place.environment_digest
        if where not in found:
            key = {"device": place.device, "environment": place.environment_digest}
            found[where] = CellGroup(cell=record.cell, key=key)
        found[where].records.append(record)
    return [found[where] for where in sorted(found)]


def _alike(group: CellGroup, free: Sequence[str]) -> tuple[object, ...]:
    cell = group.cell
    axes = ((n, v) for n, v in cell.axes().items() if n not in free and n not in _PATHS)
    # The digest of random weights is that of the architecture, so it goes with this axis.
    model = None if "architecture" in free and cell.model == "random" else cell.model_digest
    return *axes, cell.data_digest, model


def pairings(
    groups: Iterable[CellGroup],
    axis: str,
    base: str,
    others: Sequence[str],
    free: Sequence[str] = (),
) -> list[Pairing]:
    """Every cell at ``base`` with every like one at one of ``others``, on one device.

    ``free`` axes may differ too: they go with ``axis``.
    """
    found: dict[tuple[object, ...], list[CellGroup]] = defaultdict(list)
    for group in groups:
        if getattr(group.cell, axis) in (base, *others):
            where = group.key["device"], group.key["environment"]
            found[(*_alike(group, (axis, *free)), *where)].append(group)
    return [
        Pairing(base=one, other=two, differing=_differing(one.cell, two.cell, free))
        for alike in found.values()
        for one in alike
        if getattr(one.cell, axis) == base
        for two in alike
        if getattr(two.cell, axis) != base
    ]


def across_devices(groups: Iterable[CellGroup]) -> list[list[CellGroup]]:
    """Cells that are alike in all but the accelerator, where at least two devices have one."""
    found: dict[tuple[object, ...], list[CellGroup]] = defaultdict(list)
    for group in groups:
        found[_alike(group, ("accelerator",))].append(group)
    return [g for g in found.values() if len({(x.cell.accelerator, x.device) for x in g}) > 1]


def _differing(one: Cell, two: Cell, free: Sequence[str]) -> str:
    apart = [name for name in free if getattr(one, name) != getattr(two, name)]
    if one.method != two.method:  # the layout of PPO is named already
        return ""
    texts = (f"{n.replace('_', ' ')} {getattr(one, n)} against {getattr(two, n)}" for n in apart)
    return ", ".join(texts)


def cell_text(cell: Cell, *, without: Sequence[str] = ()) -> str:
    """What a reader needs to know a cell by: ``llama, tiny, lora, separate sequential, T 64``."""
    parts = {
        "method": cell.method,
        "architecture": cell.architecture,
        "size": cell.size,
        "peft": cell.peft,
        "layout": f"{cell.ppo_topology} {cell.ppo_backward}" if cell.method == "ppo" else "",
        "epochs": _epochs(cell),
        "kernels": cell.kernels if cell.kernels != "custom" else "",
        "checkpointing": "checkpointed" if cell.checkpointing == "on" else "",
        "seq_len": f"T {cell.seq_len}",
        "batch": f"B {cell.batch}",
        "lane": cell.lane if cell.lane != "out-of-box" else "",
    }
    return ", ".join(text for name, text in parts.items() if text and name not in without)


def _epochs(cell: Cell) -> str:
    default = cell.method != "ppo" or (cell.ppo_epochs, cell.ppo_minibatches) == (1, 1)
    return "" if default else f"{cell.ppo_epochs} x {cell.ppo_minibatches} passes"
