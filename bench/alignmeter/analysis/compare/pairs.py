"""Which cell of one set of records belongs to which of another, and how the two differ.

The cell's id names what was asked for. The device and what the cell was made of in the end stand
in the provenance: they belong to the comparison key, and two sides that differ there are unlike.
Commit, driver and versions may be what is under test: they are reported.
"""

__all__ = ["Compared", "Pair", "pairs", "reported", "sides_of"]

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from alignmeter.analysis.likeness import Group, groups, newest_first
from alignmeter.cells.cell import Alike, Cell
from alignmeter.records.record import Record
from alignmeter.text import shortened

_LONGEST = 40
"""Characters of a value in a sentence."""
_NEAR = 3
"""A cell that differs in more axes is another cell, not the one that was meant."""
_CANDIDATES = 200
"""Cells among which the nearest is looked for: a courtesy, not worth minutes."""
Differing = dict[str, tuple[str, str]]
"""Field -> what BASE and NEW have."""


@dataclass(kw_only=True, slots=True)
class Compared:
    """A group with what must be equal on the other side. ``key``: field -> value, known ones only.

    ``older``: how many earlier groups of the same cell stand back behind it.
    """

    group: Group
    key: dict[str, str]
    older: int = 0

    @property
    def cell(self) -> Cell:
        """The cell."""
        return self.group.cell

    @property
    def device(self) -> str:
        """Name of the device."""
        return self.group.device

    @property
    def records(self) -> list[Record]:
        """Its replicates."""
        return self.group.records


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A cell of BASE and its partner in NEW. One may be missing.

    ``differing``: why the two must not be compared; where NEW has no such cell, how the nearest of
    its other cells differs, whose id is ``nearest``.
    """

    base: Compared | None
    new: Compared | None
    differing: Differing = field(default_factory=dict)
    nearest: str = ""


def _axes(cell: Cell) -> dict[str, str]:
    return {name: str(value) for name, value in cell.without()}


def _key(group: Group) -> dict[str, str]:
    """What must be equal. A worker that died early has not told everything: that is unknown."""
    key: dict[str, str] = {}
    for record in group.records:
        key = _key_of(record) | key
    return key


def _key_of(record: Record) -> dict[str, str]:
    said = record.provenance
    key = {
        **_axes(record.cell),
        "device": said.device,
        "form_factor": said.form_factor or "",
        "partition": said.partition or "",
        "power_cap_w": "" if said.power_cap_w is None else f"{said.power_cap_w:.0f}",
        "threads": "" if said.threads is None else str(said.threads),
        "lora_targets": " ".join(said.lora_targets),
        "tokenizer": said.tokenizer,
        **_flat("hyperparameters", said.hyperparameters),
        **_flat("peft", said.peft),
    }
    return {name: value for name, value in key.items() if value}


def _flat(name: str, values: Mapping[str, object]) -> dict[str, str]:
    return {f"{name}.{key}": str(value) for key, value in values.items()}


def _apart(one: Mapping[str, str], other: Mapping[str, str]) -> Differing:
    """The fields that both know and in which they differ."""
    return {
        name: (value, other[name])
        for name, value in one.items()
        if name in other and value != other[name]
    }


def sides_of(records: Iterable[Record]) -> list[Compared]:
    """One per cell on one device, in order of cell id: of several commits, environments or nights
    the newest. What they are compared for may be one of these.
    """
    found: dict[Alike, list[Compared]] = defaultdict(list)
    for group in newest_first(groups(records)):
        known, key = found[group.alike], _key(group)
        newer = next((mate for mate in known if not _apart(mate.key, key)), None)
        if newer is None:
            known.append(Compared(group=group, key=key))
        else:
            newer.older += 1
    listed = [side for known in found.values() for side in known[::-1]]
    return sorted(listed, key=lambda side: side.cell.id)


def pairs(base: Sequence[Compared], new: Sequence[Compared]) -> list[Pair]:
    """Every group of either side once: with its partner, with an unlike one, or alone."""
    waiting: dict[Alike, list[Compared]] = defaultdict(list)
    for group in new:
        waiting[group.group.alike].append(group)
    found, single = [], []
    for group in base:
        mine = waiting[group.group.alike]
        partner = next((other for other in mine if not _apart(group.key, other.key)), None)
        if partner is None:
            single.append(group)
        else:
            mine.remove(partner)
            found.append(Pair(base=group, new=partner))
    unlike: list[Compared] = []
    for group in single:
        mine = waiting[group.group.alike]
        if mine:
            partner = min(mine, key=lambda other: len(_apart(group.key, other.key)))
            mine.remove(partner)
            differing = _apart(group.key, partner.key)
            found.append(Pair(base=group, new=partner, differing=differing))
        else:
            unlike.append(group)
    left = [group for groups_left in waiting.values() for group in groups_left]
    found += _missing(unlike, left)
    return found + [Pair(base=None, new=group) for group in left]


def _missing(unlike: Sequence[Compared], left: Sequence[Compared]) -> Iterable[Pair]:
    """Cells of BASE that NEW has not, each with the nearest of the cells that only NEW has."""
    others = [(group.cell.id, _axes(group.cell)) for group in left[:_CANDIDATES]]
    for group in unlike:
        mine = _axes(group.cell)
        apart = ((len(found), cell_id, found) for cell_id, axes in others
                 if 0 < len(found := _apart(mine, axes)) <= _NEAR)  # fmt: skip
        _, nearest, differing = min(apart, key=lambda row: row[:2], default=(0, "", {}))
        yield Pair(base=group, new=None, differing=differing, nearest=nearest)


def _reported(record: Record) -> dict[str, str]:
    said = record.provenance
    fields: dict[str, object] = {
        "commit": _commit_text(said.commit),
        "driver": said.driver,
        "runtime": said.runtime,
        "host": said.host,
        "os": said.os,
        "uuid": said.uuid,
        "threads": said.threads,
        "timed steps": len(record.timing.step_s) or None,
        **said.versions,
        **_flat("environment", said.environment),
        **_flat("kernel path", said.kernel_path),
        **_flat("data", said.data),
    }
    return {name: str(value) for name, value in fields.items() if value not in (None, "")}


def _commit_text(commit: str | None) -> str:
    """Twelve digits, and the digest of uncommitted changes behind them."""
    name, plus, changes = (commit or "").partition("+")
    return name[:12] + plus + changes


def _values(records: Iterable[Record]) -> dict[str, str]:
    seen: dict[str, set[str]] = defaultdict(set)
    for record in records:
        for name, value in _reported(record).items():
            seen[name].add(value)
    return {name: ", ".join(sorted(values)) for name, values in seen.items()}


def reported(base: Compared, new: Compared) -> list[str]:
    """``name a -> b`` for every field that may differ and does, in order of name."""
    ours, theirs = _values(base.records), _values(new.records)
    fields = {
        name: (_side(ours, name), _side(theirs, name))
        for name in sorted({*ours, *theirs})
        if ours.get(name) != theirs.get(name)
    }
    found = {**_one_sided(base.key, new.key), **fields}
    return [f"{name} {a} -> {b}" for name, (a, b) in found.items()]


def _one_sided(base: Mapping[str, str], new: Mapping[str, str]) -> Differing:
    """Fields of the key that only one side knows."""
    names = sorted(base.keys() ^ new.keys())
    return {name: (_side(base, name), _side(new, name)) for name in names}


def _side(fields: Mapping[str, str], name: str) -> str:
    return shortened(fields.get(name, "none"), _LONGEST)
