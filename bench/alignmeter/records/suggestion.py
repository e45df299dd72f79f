"""What a plan suggests for one cell: a chip, the longest sequence, and what would make it fit."""

__all__ = ["Box", "Lever", "Suggestion"]

import msgspec

from alignmeter.cells.axes import AxisValue
from alignmeter.cells.cell import Cell


class Lever(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The cell with ``axis`` at ``value``, what follows from it included, as ``cell`` has it.

    ``saves_bytes``: of the peak, always more than 0. ``fits``: whether it alone makes the cell fit
    the suggestion's target.
    """

    axis: str
    value: AxisValue
    cell: Cell
    peak_bytes: int
    saves_bytes: int
    fits: bool


class Box(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The cell on several devices, as ``cell`` has it: its batch is raised to what divides.

    ``chip``: the cheapest or smallest of which so many hold it, ``None`` if none do. ``per_hour``:
    of all of them together.
    """

    devices: int
    cell: Cell
    peak_bytes: int
    chip: str | None
    per_hour: float | None


class Suggestion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Chips are keys of the peaks table; ``devices``: how many of them hold the cell.

    ``chip``: the cheapest that fits by the prices given, else the smallest; ``None`` if none does.
    ``per_hour`` in ``currency``, ``None`` without a price. ``longest``: chip -> the longest T that
    fits, everything else equal, 0 if none does, or why it has no plan. ``target``: the chip that
    the cell misses by fewest bytes, of those asked for, or of all where it fits on these; ``None``
    where it fits on all, and then ``levers`` are not looked for. ``levers``: most saved first.
    ``boxes``: the cell on 2, 4, 8 and 16 devices; those that contradict it are left out.
    """

    devices: int = 1
    chip: str | None
    per_hour: float | None
    currency: str | None
    longest: dict[str, int | str]
    target: str | None
    misses_bytes: int
    levers: list[Lever]
    boxes: list[Box] = []
