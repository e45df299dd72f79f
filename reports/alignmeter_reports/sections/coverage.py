"""What runs where: each combination of method, model, PEFT mode and kernels, on each device."""

__all__ = ["Coverage", "CoverageRow", "Outcome", "coverage"]

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from alignmeter.cells.labels import spelled
from alignmeter.records.reasons import Code
from alignmeter.text import counted
from alignmeter_reports.cells import CellRow, Why

_MOST = 200
_AXES = ("method", "architecture", "peft", "kernels")
_MERGED = ("peft", "architecture")
"""Axes over which rows that say the same become one, in this order."""
_NOT_TRIED = frozenset((Code.EXCLUDED, Code.ACCELERATOR_MISSING))
"""Reasons that say nothing of the device: nobody asked it."""
_WORDS = {"oom": "out of memory", "predicted_oom": "planned not to fit"}
"""Status -> how a sheet says it; others as they are."""
_WORST = ("unsupported", "oom", "predicted_oom", "crashed", "timeout")
"""Of several statuses without a measurement the first is shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """``word``: runs unmodified, falls back, unsupported, or why there is no measurement.

    ``kind``: ``runs``, ``falls``, ``unsupported`` or empty, for the page's styles. ``detail``: of
    how many cells, and the reason.
    """

    word: str
    kind: str
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CoverageRow:
    """One combination. ``outcomes``: in the order of the devices; ``None``: not tried."""

    axes: tuple[str, ...]
    outcomes: list[Outcome | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """``axes``: names of what the rows combine. ``hidden``: rows that found no room."""

    axes: tuple[str, ...]
    devices: list[str]
    rows: list[CoverageRow]
    hidden: int


def coverage(rows: Sequence[CellRow]) -> Coverage:
    """Every combination of the rows, in their order, on every device that any of them names."""
    asked = [row for row in rows if not _untried(row)]
    devices = _devices(asked)
    found: dict[tuple[str, ...], dict[str, list[CellRow]]] = defaultdict(lambda: defaultdict(list))
    for row in asked:
        key = tuple(spelled(axis, str(getattr(row.cell, axis))) for axis in _AXES)
        found[key][_device(row, devices)].append(row)
    names = list(dict.fromkeys(_device(row, devices) for row in asked))
    listed = [
        CoverageRow(axes=key, outcomes=[_outcome(mine[name]) if name in mine else None
                                        for name in names])
        for key, mine in found.items()
    ]  # fmt: skip
    for axis in _MERGED:
        listed = _merged(listed, _AXES.index(axis))
    return Coverage(
        axes=_AXES, devices=names, rows=listed[:_MOST], hidden=max(0, len(listed) - _MOST)
    )


def _merged(rows: Iterable[CoverageRow], place: int) -> list[CoverageRow]:
    """One row of those that differ in one axis alone and say the same, its values listed."""
    alike: dict[tuple[object, ...], list[CoverageRow]] = defaultdict(list)
    for row in rows:
        others = (*row.axes[:place], *row.axes[place + 1 :])
        alike[others, tuple(row.outcomes)].append(row)
    return [
        CoverageRow(axes=(*mine[0].axes[:place], ", ".join(row.axes[place] for row in mine),
                          *mine[0].axes[place + 1 :]), outcomes=mine[0].outcomes)
        for mine in alike.values()
    ]  # fmt: skip


def _untried(row: CellRow) -> bool:
    codes = {why.code for whys in row.failed.values() for why in whys}
    return "ok" not in row.statuses and bool(codes) and codes <= _NOT_TRIED


def _devices(rows: Iterable[CellRow]) -> dict[str, set[str]]:
    """Accelerator -> names of the devices of that kind."""
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.place.device:
            found[row.cell.accelerator].add(row.place.device)
    return found


def _device(row: CellRow, devices: dict[str, set[str]]) -> str:
    """That of a cell which was refused before it came to a device: the only one of its kind."""
    known = devices.get(row.cell.accelerator, set())
    if not row.place.device and len(known) == 1:
        return next(iter(known))
    return row.place.device or row.cell.accelerator


def _outcome(cells: Sequence[CellRow]) -> Outcome:
    ran = [row for row in cells if "ok" in row.statuses]
    fell = [why for row in ran for why in row.invalid.get("time", ()) if _fell_back(why)]
    statuses = {status for row in cells for status in row.statuses}
    worst = next((name for name in _WORST if name in statuses), next(iter(statuses)))
    word = _WORDS.get(worst, worst)
    some = f"{len(ran)} of {counted(len(cells), 'cell')}, {word} in others"
    of = some if len(ran) < len(cells) else ""
    if fell:
        return Outcome(word="falls back", kind="falls", detail=_joined(of, fell[0].text))
    if ran:
        return Outcome(word="runs unmodified", kind="runs", detail=of)
    whys = [why for row in cells for why in row.failed.get(worst, ())]
    kind = "unsupported" if worst == "unsupported" else ""
    return Outcome(word=word, kind=kind, detail=whys[0].text if whys else "")


def _fell_back(why: Why) -> bool:
    return why.code == Code.KERNEL_FELL_BACK


def _joined(*texts: str) -> str:
    return "; ".join(text for text in texts if text)
