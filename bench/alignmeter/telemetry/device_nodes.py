"""Device files of drivers: whether there may be a device at all, and who has one open.

Questions that need no library and no time, and open nothing.
"""

__all__ = ["device_nodes", "open_device_nodes"]

import contextlib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

_DEV = Path("/dev")


def device_nodes(patterns: Iterable[str], folder: Path = _DEV) -> list[Path]:
    """The files below ``folder`` that match one of ``patterns``; none without the driver.

    Some are a driver's of another vendor as well (``dri/renderD*``): empty is a proof, others are
    not.
    """
    return sorted({path for pattern in patterns for path in folder.glob(pattern)})


def open_device_nodes(pid: int, patterns: Iterable[str], proc: Path = Path("/proc")) -> list[str]:
    """Those that process has open, each once; none if it is gone or somebody else's."""
    opened = set()
    with contextlib.suppress(OSError):
        for handle in (proc / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                opened.add(str(handle.readlink()))
    wanted = [str(_DEV / pattern) for pattern in patterns]
    return sorted(name for name in opened if any(fnmatchcase(name, one) for one in wanted))
