"""Child processes of Python: they import what is installed, and end with their parent."""

__all__ = ["die_with_parent", "main_left_alone", "module_command", "safe_path", "variables"]

import contextlib
import fcntl
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from multiprocessing.connection import wait

_SAFE_PATH = "PYTHONSAFEPATH"
_PR_SET_PDEATHSIG = 1
"""Of ``linux/prctl.h``: the signal that a process gets when the thread that started it ends."""


@contextlib.contextmanager
def variables(given: Mapping[str, str]) -> Iterator[None]:
    """The environment has these inside, for this process and for those that it starts."""
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def safe_path() -> AbstractContextManager[None]:
    """Interpreters that start inside leave the working directory off their path, as their own do.

    `multiprocessing` starts its forkserver, resource tracker and spawned children with ``-c``, for
    which Python puts the working directory first: a file named ``random.py`` there would be
    imported instead of the library. A variable reaches them all; there is no argument for it.
    """
    return variables({_SAFE_PATH: "1"})


@contextlib.contextmanager
def main_left_alone() -> Iterator[None]:
    """Processes that start inside do not import the script that this one runs.

    `multiprocessing` gives them its ``__spec__`` or ``__file__``, and a script without a guard
    would then run once more in each. What they need is in modules.
    """
    main: dict[str, object] = vars(sys.modules["__main__"])
    names = "__spec__", "__file__"
    kept: dict[str, object] = {name: main.pop(name) for name in names if name in main}
    main["__spec__"] = None
    try:
        yield
    finally:
        main.update(kept)


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs an installed module in an interpreter of its own, as `safe_path`."""
    return [sys.executable, "-P", "-m", module, *arguments]


def die_with_parent(pid: int | None = None) -> None:
    """Ask Linux to kill this process when its parent goes, however that ends.

    ``pid``: the parent's, where `subprocess` started this process; `multiprocessing` knows it, also
    through a forkserver in between. The kernel does it, also while a call is stuck; a process that
    waits for its parent's next word would wait for ever, since siblings hold the pipe as well.
    """
    parent = multiprocessing.parent_process()
    if sys.platform != "linux" or (parent is None and pid is None):
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None:
        _die_with(parent.sentinel)
    if pid is not None and os.getppid() != pid:  # it ended before anybody listened
        signal.raise_signal(signal.SIGKILL)


def _die_with(pipe: int) -> None:
    """The parent's end shows on a pipe whose other end it holds: the kernel signals that, and may
    send any signal for it.
    """
    fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    if wait([pipe], 0):  # it ended before anybody listened
        signal.raise_signal(signal.SIGKILL)
