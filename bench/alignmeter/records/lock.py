"""One run at a time in a folder: a lock that goes with the process that holds it."""

__all__ = ["locked"]

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import psutil

from alignmeter.errors import InputError
from alignmeter.records.folder import not_written

_LOCK = ".lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""What flock(2) fails with where a file system or its server has no locks."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process; the kernel lets it go however the process ends.

    Forked children do not hold it: the library closes their copy of the file. What earlier runs
    left half-written when they were killed is removed. Raises `InputError` if another run holds the
    folder, or if it cannot be written or locked.
    """
    from filelock import FileLock, Timeout  # 15 ms, which only a run has to wait for

    path = folder / _LOCK
    # Without flock the library would make do with a file that outlives a killed process.
    lock = FileLock(path, blocking=False, fallback_to_soft=False, on_acquired=_sign)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise InputError(
            f"{folder}: another run (process {_holder(path)}) writes here; "
            "wait for it or give another folder"
        ) from None
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise InputError(
                f"{folder}: this file system gives no lock ({error.strerror}); "
                "give a folder on another one"
            ) from error
        raise not_written(folder, error) from error
    try:
        _tidy(folder)
        yield
    finally:
        lock.release()


def _sign(handle: int) -> None:
    """Write who holds the lock into its file, for who is refused."""
    with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
        os.truncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)


def _holder(path: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return str(int(path.read_bytes()[:32]))
    return "unknown"


def _tidy(folder: Path) -> None:
    """Remove temporary files whose writer is gone: ``.NAME.PID.partial``."""
    for path in folder.glob(".*.*.partial"):
        pid = path.name.split(".")[-2]
        writes = pid.isdigit() and int(pid) != os.getpid() and psutil.pid_exists(int(pid))
        if not writes:
            with contextlib.suppress(OSError):  # litter: it is in nobody's way
                path.unlink()
