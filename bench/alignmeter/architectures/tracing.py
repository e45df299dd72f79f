"""Whether models are built and steps run on tensors without data, as a plan does.

Code that needs values, or that repeats what changes no shape, asks and does what gives the same
shapes, lives and owners.
"""

__all__ = ["is_tracing", "repeats", "standing_for", "tracing"]

import contextlib
from collections.abc import Iterator

_TRACES: list[bool] = []
"""Not a context variable: a backward pass may run in another thread."""
_TIMES: list[int] = []


@contextlib.contextmanager
def tracing() -> Iterator[None]:
    """Within the context tensors have no data."""
    _TRACES.append(True)
    try:
        yield
    finally:
        _TRACES.pop()


def is_tracing() -> bool:
    """Whether tensors have no data."""
    return bool(_TRACES)


@contextlib.contextmanager
def standing_for(times: int) -> Iterator[None]:
    """Within the context one call stands for so many that are alike, but for sizes that grow."""
    _TIMES.append(times)
    try:
        yield
    finally:
        _TIMES.pop()


def repeats() -> int:
    """How many calls the present one stands for."""
    return _TIMES[-1] if _TIMES else 1
