"""What the energy window asks of a device's counter."""

__all__ = ["EnergyCounter", "NoCounter"]

from typing import Protocol


class EnergyCounter(Protocol):
    """A device's own energy counter."""

    scope: str
    tick_s: float

    def missing(self) -> str | None:
        """``None`` if the counter can be read, else why not."""
        ...

    def read_j(self) -> float:
        """Energy since an arbitrary start, in J, never stepping back."""
        ...


class NoCounter:
    """The null object: no counter, and the reason."""

    scope = "none"
    tick_s = 0.0

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def missing(self) -> str | None:
        """The reason."""
        return self._reason

    def read_j(self) -> float:
        """Raises `RuntimeError`: there is nothing to read."""
        raise RuntimeError(self._reason)
