"""Which cells may be held against each other: alike in everything but what is asked about."""

__all__ = ["Pairing", "across_devices", "goes_with", "pairings"]

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from alignmeter.analysis.likeness import Group, current, newest_first
from alignmeter.cells.cell import Alike, Cell
from alignmeter.cells.labels import axis_text
from alignmeter.registry import METHODS, PEFT_MODES, MethodRow, PeftRow


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairing:
    """Two groups whose cells differ in one axis. ``differing``: what else differs, in words.

    ``base`` is what ``other`` is held against: ratios are other / base.
    """

    base: Group
    other: Group
    differing: str


def goes_with(axis: str, one: str, other: str) -> tuple[str, ...]:
    """Axes that differ because ``axis`` is at ``one`` here and at ``other`` there.

    Those that only one of two methods or PEFT modes has; and the ref_model and the number format,
    which follow from the PEFT mode.
    """
    if axis == "method":
        return _only_one_has(METHODS, one, other)
    if axis == "peft":
        return ("ref", "precision", *_only_one_has(PEFT_MODES, one, other))
    return ()


def _only_one_has(
    rows: Mapping[str, MethodRow] | Mapping[str, PeftRow], one: str, other: str
) -> tuple[str, ...]:
    ours, theirs = (rows[name].axes if name in rows else () for name in (one, other))
    return tuple(sorted({*ours} ^ {*theirs}))


def pairings(groups: Iterable[Group], axis: str, base: str, others: Sequence[str]) -> list[Pairing]:
    """Every cell at ``base`` with every like one at one of ``others``, in one setting.

    Both sides are of one commit, and of one session where there is one that has both: the newest.
    """
    listed = [group for group in groups if getattr(group.cell, axis) in (base, *others)]
    return [pair for other in others for pair in _pairs(listed, axis, base, other)]


def _pairs(groups: Sequence[Group], axis: str, base: str, other: str) -> Iterator[Pairing]:
    free = goes_with(axis, base, other)
    families: dict[tuple[object, ...], list[Group]] = defaultdict(list)
    for group in groups:
        alike = group.cell.without(axis, *free)
        families[(*alike, *group.place.setting)].append(group)
    for family in families.values():
        sides = [
            _by_cell(group for group in family if getattr(group.cell, axis) == value)
            for value in (base, other)
        ]
        for ours in sides[0].values():
            for theirs in sides[1].values():
                yield from _newest(ours, theirs, free)


def _by_cell(groups: Iterable[Group]) -> dict[Alike, list[Group]]:
    found: dict[Alike, list[Group]] = defaultdict(list)
    for group in groups:
        found[group.alike].append(group)
    return found


def _newest(
    ours: Sequence[Group], theirs: Sequence[Group], free: Sequence[str]
) -> Iterator[Pairing]:
    """The newest pair of one session, else of one commit; none of two commits."""
    for same in (_session, _commit):
        both = {same(group) for group in ours} & {same(group) for group in theirs}
        if both:
            base, other = (
                newest_first(group for group in side if same(group) in both)
                for side in (ours, theirs)
            )
            key = same(base[0])
            mate = next(group for group in other if same(group) == key)
            apart = "" if _session(base[0]) == _session(mate) else "measured in two sessions"
            words = [*_differing(base[0].cell, mate.cell, free), *filter(None, [apart])]
            yield Pairing(base=base[0], other=mate, differing=", ".join(words))
            return


def _session(group: Group) -> object:
    return group.place.commit, group.place.session


def _commit(group: Group) -> object:
    return group.place.commit


def _differing(one: Cell, two: Cell, free: Sequence[str]) -> Iterator[str]:
    if one.method != two.method:  # the layout of the one that has one is named already
        return
    for name in free:
        differ = getattr(one, name) != getattr(two, name)
        if differ and axis_text(one, name) != axis_text(two, name):  # it changes something
            yield f"{name.replace('_', ' ')} {getattr(one, name)} against {getattr(two, name)}"


def across_devices(groups: Iterable[Group]) -> list[list[Group]]:
    """Cells alike in all but the accelerator, where at least two devices have one; the newest of
    each device and environment.
    """
    found: dict[tuple[object, ...], list[Group]] = defaultdict(list)
    for group in current(groups):
        found[group.cell.without("accelerator")].append(group)
    return [g for g in found.values() if len({(x.cell.accelerator, x.device) for x in g}) > 1]
