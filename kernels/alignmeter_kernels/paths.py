"""Which implementation of each kernel ran in this process: for the record, never a secret."""

__all__ = ["note", "paths_run"]

_RUN: dict[str, str] = {}


def note(kernel: str, path: str) -> None:
    """``kernel`` ran as ``path``: ``triton``, ``cpp``, or ``torch``."""
    _RUN[kernel] = path


def paths_run() -> dict[str, str]:
    """Kernel -> the path that ran last."""
    return dict(_RUN)
