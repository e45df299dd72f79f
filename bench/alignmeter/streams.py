"""Standard streams of a command: sentences reach the user, what libraries print goes to a log.

Loading bars, warnings on import, a font cache, the resource tracker's last words: all of that comes
through standard error, from this process and from its children. A command therefore keeps a copy of
that stream for its own sentences, and puts a log in its place.
"""

__all__ = ["LOG_FILE", "default_log", "hand_back", "keep", "log_to", "noise", "quiet",
           "separate", "settle", "tell", "user_stream"]  # fmt: skip

import atexit
import contextlib
import functools
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from platformdirs import user_log_path

from alignmeter.children import variables

LOG_FILE = "alignmeter.log"
"""In the folder of a run: what libraries printed, its workers' words too."""
_LOG = "ALIGNMETER_LOG"
"""Names that file to the children of a run."""
_STANDARD_ERROR = 2
_MOST_BYTES = 1 << 20
"""Of one process that are kept, its last ones; and of the log of other commands than runs."""
_told: list["_Told"] = []


class _Told(io.TextIOWrapper):
    """The user's standard error. Who closed it, or filled its disk, is told no more; no run ends
    for that.
    """

    def write(self, text: str, /) -> int:
        """As the base's; what cannot be written is gone."""
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """The same."""
        with contextlib.suppress(OSError):
            super().flush()


def user_stream() -> TextIO:
    """Where sentences for people go: the standard error that the command was started with."""
    return _told[0] if _told else sys.stderr


def tell(text: str) -> None:
    """One line to the user."""
    stream = user_stream()
    stream.write(f"{text}\n")
    stream.flush()


def separate() -> None:
    """From now on standard error is a log in memory, for children as well; see `settle`.

    For the rest of the process: what ends after it, such as the resource tracker, has words too. A
    stream that is closed is opened on nothing, so that no file gets its number. Where
    ``sys.stderr`` is not the process's own, as in a test, nothing changes.
    """
    _open_closed()
    with contextlib.suppress(OSError, ValueError):
        if not _told and sys.stderr.fileno() == _STANDARD_ERROR:
            copy = os.fdopen(os.dup(_STANDARD_ERROR), "wb")
            _told.append(
                _Told(copy, sys.stderr.encoding, errors="backslashreplace", line_buffering=True)
            )
            _replace(os.memfd_create(LOG_FILE))


def _open_closed() -> None:
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            stream = os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def _replace(handle: int) -> None:
    """Standard error is that file, which is closed under its other number."""
    sys.stderr.flush()
    os.dup2(handle, _STANDARD_ERROR)
    os.close(handle)


def default_log() -> Path:
    """The log of commands that fill no folder."""
    return user_log_path("alignmeter", appauthor=False) / LOG_FILE


def settle() -> None:
    """Add what is in memory to `default_log`, whose earlier contents go where they are too long.

    A home that cannot be written costs the log and nothing else.
    """
    if not _told:
        return
    sys.stderr.flush()
    size = os.fstat(_STANDARD_ERROR).st_size
    said = os.pread(_STANDARD_ERROR, _MOST_BYTES, max(0, size - _MOST_BYTES)) if size else b""
    with contextlib.suppress(OSError):
        if said:
            path = default_log()
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_file() and path.stat().st_size > _MOST_BYTES:
                path.unlink()
            _append(path, said)


def hand_back() -> None:
    """Standard error as the command was started with, for a program that takes its place."""
    settle()
    if _told:
        os.dup2(_told[0].fileno(), _STANDARD_ERROR)


@contextlib.contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Within the context the log is that file, of this process and of its children.

    A file that stays empty is removed. Where it cannot be opened the log stays what it was.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    except OSError:
        yield
        return
    before = os.dup(_STANDARD_ERROR) if _told else None
    if before is None:
        os.close(handle)
    else:
        _replace(handle)
    try:
        with variables({_LOG: str(path)}):
            yield
    finally:
        if before is not None:
            _replace(before)
        with contextlib.suppress(OSError):
            if not path.stat().st_size:
                path.unlink()


def noise() -> TextIO | None:
    """Where this process puts what a library prints; ``None`` where nobody keeps it.

    It stays open: a library's log handler keeps the stream that it found when it was made.
    """
    if _told:
        return sys.stderr
    return _stream(os.environ[_LOG]) if _LOG in os.environ else None


@functools.cache
def _stream(path: str) -> TextIO | None:
    try:
        stream = Path(path).open("a", buffering=1, errors="backslashreplace")  # noqa: SIM115
    except OSError:
        return None
    atexit.register(stream.close)
    return stream


def keep(said: bytes) -> None:
    """Put into the log what a child said, its end where it is long."""
    if not said:
        return
    if _LOG in os.environ:
        with contextlib.suppress(OSError):
            _append(Path(os.environ[_LOG]), said[-_MOST_BYTES:])
    elif _told:
        os.write(_STANDARD_ERROR, said[-_MOST_BYTES:])


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Within the context what is logged, warned of or printed to stderr goes to the run's log.

    Where there is none it goes nowhere, errors that are logged excepted. bitsandbytes logs that
    Hugging Face's `kernels` is absent, transformers that torchvision is.
    """
    log, before = noise(), logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stderr(log or io.StringIO()):
        if log is None:
            warnings.simplefilter("ignore")
            logging.disable(max(before, logging.WARNING))
        else:
            warnings.simplefilter("default")
            warnings.showwarning = _shown_in(log)
        try:
            yield
        finally:
            logging.disable(before)  # another such context may be around this one


def _shown_in(log: TextIO) -> Callable[..., None]:
    """What writes warnings there, whoever else records them."""

    def show(
        message: Warning | str, category: type[Warning], filename: str, lineno: int,
        file: TextIO | None = None, line: str | None = None,
    ) -> None:  # fmt: skip
        (file or log).write(warnings.formatwarning(message, category, filename, lineno, line))

    return show
