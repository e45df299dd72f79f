"""Groups by the hardware that they were measured on: what stands side by side in a table."""

__all__ = ["Hardware", "first_of_each", "hardware_of", "newest_of_each", "side_by_side"]

from collections import defaultdict
from collections.abc import Iterable

from alignmeter.analysis.likeness import Group, current, newest_first
from alignmeter.registry import ACCELERATORS

Hardware = tuple[object, ...]
"""What tells one device from another: kind, name, form factor, partition, power cap, threads."""


def hardware_of(group: Group) -> Hardware:
    """Equal for two groups of one device in one setting, whatever the driver and the versions."""
    return group.cell.accelerator, *group.place.hardware


def newest_of_each(cells: Iterable[Group]) -> list[Group]:
    """Of each cell on each hardware the newest group that ran, in order of hardware and cell.

    Accelerators stand as the registry has them. Earlier drivers and versions are history's.
    """
    found: dict[tuple[object, ...], Group] = {}
    for group in newest_first(current(cells)):
        if group.ran:
            found.setdefault((group.alike, hardware_of(group)), group)
    return sorted(found.values(), key=_order)


def first_of_each(groups: Iterable[Group]) -> dict[Hardware, Group]:
    """A group of each hardware, in the order of `newest_of_each`."""
    found: dict[Hardware, Group] = {}
    for group in sorted(groups, key=_order):
        found.setdefault(hardware_of(group), group)
    return found


def _order(group: Group) -> tuple[object, ...]:
    known, name = list(ACCELERATORS), group.cell.accelerator
    place = known.index(name) if name in known else len(known)
    return place, *map(str, hardware_of(group)), group.cell.id


def side_by_side(groups: Iterable[Group]) -> list[list[Group]]:
    """Cells alike in all but the accelerator that several of the groups have, in their order."""
    found: dict[object, list[Group]] = defaultdict(list)
    for group in groups:
        found[group.cell.without("accelerator")].append(group)
    return sorted((g for g in found.values() if len(g) > 1), key=lambda alike: alike[0].cell.id)
