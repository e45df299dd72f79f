"""What an axis is: its values, its default, and how ids name it."""

__all__ = ["Axis", "AxisValue"]

from dataclasses import dataclass

AxisValue = str | int


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """One axis. ``choices`` is empty for free text (``data``, ``lane``) and for integers.

    ``other``: how a value is written that is none of the choices; empty: there is none.

    ``default``: what a cell has that does not name it; ``None``: it depends on other axes
    (`cells.defaults`). ``omitted``: at this value ids leave the axis out, for ever, whatever
    becomes of the default; what it was before the axis came. ``None``: it always enters. ``slug``:
    how the id names a value that is not the default, where it is not the value itself; empty: not
    at all. ``several``: an option takes more than one value, with commas between them.
    ``maximum``: of an integer; no device holds more, and their products would pass 64 bits.
    """

    name: str
    help: str
    choices: tuple[str, ...] = ()
    other: str = ""
    default: AxisValue | None = None
    omitted: AxisValue | None = None
    slug: str = "{}"
    integer: bool = False
    minimum: int = 1
    maximum: int = 2**27
    several: bool = True

    @property
    def flag(self) -> str:
        """The command-line spelling, e.g. ``--seq-len``."""
        return "--" + self.name.replace("_", "-")
