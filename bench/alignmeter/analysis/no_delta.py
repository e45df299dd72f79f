"""Why records give no delta of two methods: what is missing, in one sentence."""

__all__ = ["why_no_delta"]

from collections import Counter
from collections.abc import Callable, Sequence

from alignmeter.analysis.delta import peak_counts
from alignmeter.analysis.likeness import Group, groups
from alignmeter.analysis.pairings import goes_with
from alignmeter.cells.axes import AXES
from alignmeter.cells.labels import spelled
from alignmeter.records.record import Record
from alignmeter.text import counted

_PLACE: dict[str, Callable[[Group], object]] = {
    "the device": lambda group: group.place.hardware,
    "the environment": lambda group: group.place.environment,
    "the commit": lambda group: group.place.commit,
}


def why_no_delta(records: Sequence[Record], names: tuple[str, str]) -> str:
    """For `registry.DELTAS`' pair ``names``: cells that are missing, failed, do not count or
    differ. Which of these it is depends on how far the nearest pair came.
    """
    less, more = (spelled("method", name) for name in names)
    found = [group for group in groups(records) if group.cell.method in names]
    here = {group.cell.method for group in found}
    if here != set(names):
        absent = " and ".join(
            f"no {spelled('method', name)} cell" for name in names if name not in here
        )
        return f"it needs a {less} and a {more} cell alike in all else; there is {absent}"
    for counts, what in _CHECKS:
        for name in names:
            cells = [group for group in found if group.cell.method == name]
            if not any(map(counts, cells)):
                return f"no {spelled('method', name)} cell {what}: {_said(cells)}"
    good = [group for group in found if _memory_counts(group)]
    return f"no {less} cell is like a {more} cell: {_apart(good, *names)}"


def _ran(group: Group) -> bool:
    return group.ran


def _memory_counts(group: Group) -> bool:
    return any(map(peak_counts, group.records))


_CHECKS: tuple[tuple[Callable[[Group], bool], str], ...] = (
    (_ran, "was measured"),
    (_memory_counts, "has a memory figure that counts"),
)


def _said(cells: Sequence[Group]) -> str:
    """How often each reason stands in their records, the most frequent first."""
    codes: Counter[str] = Counter()
    for record in (record for group in cells for record in group.records):
        if record.status != "ok":
            codes[record.reason.code if record.reason else record.status] += 1
        else:
            verdict = record.validity.get("memory")
            reasons = [] if verdict is None else verdict.reasons
            codes.update({reason.code for reason in reasons} or {"no peak"})
    return ", ".join(f"{code} in {counted(n, 'record')}" for code, n in codes.most_common())


def _apart(good: Sequence[Group], less: str, more: str) -> str:
    """In what the two cells differ that differ least."""
    free = {"method", *goes_with("method", less, more)}
    pairs: list[list[str]] = [
        _differences(one, other, free)
        for one in good
        for other in good
        if (one.cell.method, other.cell.method) == (less, more)
    ]
    pairs.sort(key=len)
    return f"the nearest two differ in {', '.join(pairs[0])}"


def _differences(one: Group, other: Group, free: set[str]) -> list[str]:
    axes = [name for name in AXES if name not in free]
    found = [
        f"{name} ({getattr(one.cell, name)} and {getattr(other.cell, name)})"
        for name in axes
        if getattr(one.cell, name) != getattr(other.cell, name)
    ]
    return found + [what for what, of in _PLACE.items() if of(one) != of(other)]
