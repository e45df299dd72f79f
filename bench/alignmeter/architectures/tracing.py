"""Whether models are built and steps run on tensors without data, as a plan does.

Code that needs values, or that repeats what changes no shape, asks and does what gives the same
shapes, lives and owners.
"""

__all__ = ["is_tracing", "tracing"]

import contextlib
from collections.abc import Iterator

_TRACES: list[bool] = []
"""Not a context variable: a backward pass may run in another thread."""


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
