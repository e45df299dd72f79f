"""The median of what was found, if anything was."""

__all__ = ["median"]

import statistics
from collections.abc import Iterable


def median(values: Iterable[float]) -> float | None:
    """Of ``values``; ``None`` of none."""
    listed = list(values)
    return statistics.median(listed) if listed else None
