"""Axes in units that a person reads: 48.8 GiB, 17.5 s, 3.3 kJ, never 5.2e10 B."""

__all__ = [
    "BYTES",
    "COUNT",
    "JOULES",
    "MEGAHERTZ",
    "SECONDS",
    "WATTS",
    "Quantity",
    "log_axis",
    "money",
]

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from alignmeter.units import GIB, KIB, MIB, bytes_text, digits, joules_text, seconds_text

_MOST_TICKS = 7
_WIDE = 8
"""From this ratio of the ends on, ticks stand at powers; on a shorter axis they are as on a ruler.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantity:
    """What an axis shows. ``units``: size and name, the largest first; the last one is of size 1 or
    less. ``text``: one figure with its unit. ``base``: of the powers that stand at ticks.
    """

    units: tuple[tuple[float, str], ...]
    text: Callable[[float], str]
    base: int = 10

    def unit(self, largest: float) -> tuple[float, str]:
        """The unit in which the largest figure of a linear axis is at least 1."""
        fitting = (unit for unit in self.units if largest >= unit[0])
        return next(fitting, self.units[-1])

    def ticks(self, low: float, high: float) -> list[float]:
        """Where ticks of a logarithmic axis from ``low`` to ``high`` stand, both above zero."""
        if high / low >= _WIDE:
            found = self._powers(low, high)
            if len(found) > 1:
                return found
        size, _ = self.unit(low)
        ruler = MaxNLocator(_MOST_TICKS - 2, steps=[1, 2, 2.5, 5, 10])
        ruled = ruler.tick_values(low / size, high / size)
        return [float(tick) * size for tick in ruled if low <= tick * size <= high]

    def _powers(self, low: float, high: float) -> list[float]:
        first, last = math.floor(math.log(low, self.base)), math.floor(math.log(high, self.base))
        fine = self.base == 10 and last - first <= _MOST_TICKS // 2
        powers = [float(self.base) ** k for k in range(first, last + 1)]
        steps = (1, 2, 5) if fine else (1,)
        found = [step * power for power in powers for step in steps if low <= step * power <= high]
        return found if fine else found[:: math.ceil(len(found) / _MOST_TICKS) or 1]


def _count_text(value: float) -> str:
    """``2560``, ``12.8k``, ``1.5M``."""
    if abs(value) >= 1e6:
        return f"{digits(value / 1e6)}M"
    return f"{digits(value / 1e3)}k" if abs(value) >= 1e4 else digits(value)


BYTES = Quantity(
    units=((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"), (1, "B")), text=bytes_text, base=2
)
SECONDS = Quantity(units=((1, "s"), (1e-3, "ms")), text=seconds_text)
JOULES = Quantity(units=((1e3, "kJ"), (1, "J"), (1e-3, "mJ")), text=joules_text)
MEGAHERTZ = Quantity(units=((1, "MHz"),), text=lambda clock: f"{digits(clock)} MHz")
WATTS = Quantity(units=((1, "W"),), text=lambda watts: f"{digits(watts)} W")
COUNT = Quantity(units=((1, ""),), text=_count_text)


def money(currency: str) -> Quantity:
    """Prices in ``currency``, whose name stands on the axis."""
    return Quantity(units=((1, currency),), text=digits)


def log_axis(
    axes: Axes, which: Literal["x", "y"], values: Sequence[float], quantity: Quantity
) -> None:
    """A logarithmic axis about ``values`` above zero, a figure with its unit at every tick."""
    low, high = min(values), max(values)
    room = max(1.06, (high / low) ** 0.06)
    low, high = low / room, high * room
    ticks = quantity.ticks(low, high)
    texts = [quantity.text(tick) for tick in ticks]
    if which == "x":
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        axes.set_xticks(ticks, texts)
    else:
        axes.set_yscale("log")
        axes.set_ylim(low, high)
        axes.set_yticks(ticks, texts)
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_minor_locator(NullLocator())
