"""Which implementation of each kernel ran in this process: for the record, never a secret."""

__all__ = ["is_portable_only", "note", "paths_run", "portable_only"]

import contextlib
from collections.abc import Iterator

_RUN: dict[str, str] = {}
_FORCED: list[bool] = []


def note(kernel: str, path: str) -> None:
    """``kernel`` ran as ``path``: ``triton``, ``cpp``, or ``torch``."""
    _RUN[kernel] = path


def paths_run() -> dict[str, str]:
    """Kernel -> the path that ran last."""
    return dict(_RUN)


@contextlib.contextmanager
def portable_only() -> Iterator[None]:
    """Within the context the CPU takes the pure-torch versions, also where C++ ones are built."""
    _FORCED.append(True)
    try:
        yield
    finally:
        _FORCED.pop()


def is_portable_only() -> bool:
    """Whether `portable_only` is in force; it holds for the threads of a backward pass too."""
    return bool(_FORCED)
