"""Seconds that this process has spent compiling kernels: what a first step waits for."""

__all__ = ["compile_seconds", "count_triton", "spent"]

from functools import cache
from typing import Any

_SPENT: list[float] = []


def spent(seconds: float) -> None:
    """So many s more."""
    _SPENT.append(seconds)


def compile_seconds() -> float | None:
    """All of them in s; ``None`` if nothing was compiled. What a cache held is not."""
    return sum(_SPENT) if _SPENT else None


@cache
def count_triton() -> None:
    """From now on Triton's compiler tells (``triton.knobs``, 3.4 to 3.9; earlier ones do not)."""
    from triton import knobs

    compilation: Any = getattr(knobs, "compilation", None)
    if compilation is None or not hasattr(compilation, "listener"):
        return
    before = compilation.listener

    def told(**seen: Any) -> None:
        if not seen["cache_hit"]:
            spent(seen["times"].total / 1e6)
        if before is not None:
            before(**seen)

    compilation.listener = told
