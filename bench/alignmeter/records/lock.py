"""One run at a time in a folder: a lock that goes with the process that holds it."""

__all__ = ["claimed"]

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import psutil

from alignmeter.errors import InputError

_LOCK = ".lock"


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process; the kernel lets it go however the process ends.

    What earlier runs left half-written when they were killed is removed. Raises `InputError` if
    another run holds the folder, or if it cannot be written or locked.
    """
    path = folder / _LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror or error}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise InputError(
                    f"{folder}: this file system gives no lock ({error.strerror}); "
                    "give an --out on another one"
                ) from error
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
            raise InputError(
                f"{folder}: another run (process {holder}) writes here; "
                "wait for it or give another --out"
            ) from None
        with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
            os.truncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        _tidy(folder)
        yield
    finally:
        os.close(handle)


def _tidy(folder: Path) -> None:
    """Remove temporary files whose writer is gone: ``.NAME.PID.partial``."""
    for path in folder.glob(".*.*.partial"):
        pid = path.name.split(".")[-2]
        writes = pid.isdigit() and int(pid) != os.getpid() and psutil.pid_exists(int(pid))
        if not writes:
            with contextlib.suppress(OSError):  # litter: it is in nobody's way
                path.unlink()
