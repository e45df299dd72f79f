"""How a command ends: its exit status, and one sentence for whatever ended it early."""

__all__ = ["FAULT", "Outermost", "end_on_sigterm", "run_to_end"]

import contextlib
import errno
import io
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from alignmeter.errors import InputError
from alignmeter.streams import separate, settle, tell
from alignmeter.text import sentence, shortened, shown_path

_WRONG = 2
_INTERRUPTED = 130
_NO_READER = 141
"""What a shell gives for SIGPIPE: who read the output, ``head`` say, has seen enough."""
_OF_MACHINE = frozenset((
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE,
    errno.EMFILE, errno.ENFILE, errno.ENAMETOOLONG,
))  # fmt: skip
"""What an operating system refuses at a place whatever the program does: no fault of ours."""
FAULT = 70
"""EX_SOFTWARE of ``sysexits.h``. 1, Python's own, would say that a gate failed."""
_SAID = 120
"""Characters of an error's own words in a sentence."""


class _EscapedError(Exception):
    """An `OSError` on its way past click."""

    def __init__(self, error: OSError) -> None:
        self.error = error


@contextlib.contextmanager
def _escaping() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _EscapedError(error) from error


class Outermost(click.Group):
    """The program itself. Click would make exit status 1 of a broken pipe, unseen by anybody."""

    def make_context(self, *arguments: Any, **keywords: Any) -> click.Context:
        """As the base's: reads the arguments, and prints help and version."""
        with _escaping():
            return super().make_context(*arguments, **keywords)

    def invoke(self, ctx: click.Context) -> Any:
        """As the base's: runs the command."""
        with _escaping():
            return super().invoke(ctx)


def run_to_end(command: click.Command) -> int:
    """Run it with the arguments of this process; returns its exit status.

    Bad input is one sentence and 2, a fault of ours one sentence and `FAULT`. What libraries print
    is in the log: see `streams`.
    """
    separate()
    try:
        return _status(command)
    finally:
        settle()


def end_on_sigterm() -> None:
    """SIGTERM as Ctrl-C, also where a shell made us ignore SIGINT (``alignmeter run &``)."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _status(command: click.Command) -> int:
    try:
        _check_folder()
        status: int | None = command.main(prog_name="alignmeter", standalone_mode=False)
        sys.stdout.flush()
        return status or 0  # None: a command that returned
    except click.ClickException as error:
        _show(error)
        return _WRONG  # click itself gives 1 for some
    except InputError as error:
        tell(f"Error: {sentence(str(error))}")
        return _WRONG
    except (KeyboardInterrupt, click.Abort) as error:
        cause = error.__cause__ or error  # click makes an `Abort` of it
        if not cause.args:  # else whoever raised it has said more
            tell("\nStopped.")
        return _INTERRUPTED
    except _EscapedError as escaped:
        return _of_error(escaped.error)
    except Exception as error:  # noqa: BLE001 - whatever it is, it has a status and a sentence
        return _of_error(error)


def _show(error: click.ClickException) -> None:
    """As click does, which quotes what was given as it is."""
    shown = io.StringIO()
    error.show(shown)
    usage, mark, said = shown.getvalue().partition("Error: ")
    tell(f"{usage}{mark}{sentence(' '.join(said.split()))}")


def _check_folder() -> None:
    """Libraries that look up their own files in it abort the process where it is gone."""
    try:
        Path.cwd()
    except OSError as error:
        raise InputError(
            f"the working directory cannot be used ({error.strerror}); change to one that exists"
        ) from error


def _of_error(error: Exception) -> int:
    if isinstance(error, OSError) and _is_of_output(error):
        return _without_output(error)
    if isinstance(error, OSError) and error.errno in _OF_MACHINE and error.filename:
        place = shown_path(str(error.filename))
        tell(f"Error: {place}: {error.strerror}; correct that, or give another place")
        return _WRONG
    return _fault(error)


def _is_of_output(error: OSError) -> bool:
    """Whether it was raised where output is written: by click, or by the last flush here."""
    innermost = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    return innermost == Path(__file__) or Path(click.__file__).parent in innermost.parents


def _without_output(error: OSError) -> int:
    # Python flushes once more when it ends; what is left over shall find a place.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.EPIPE:
        return _NO_READER
    tell(f"Error: standard output cannot be written: {error.strerror}")
    return _WRONG


def _fault(error: Exception) -> int:
    said = shortened(next(iter(str(error).splitlines()), ""), _SAID)
    what = f"{type(error).__name__}: {said}" if said else type(error).__name__
    tell(f"Error: {what}. This is a fault of alignmeter; {_kept(error)}")
    return FAULT


def _kept(error: Exception) -> str:
    """Where the traceback is. In the temporary folder: a run's own may be what failed."""
    text = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="alignmeter-", suffix=".txt", delete=False, errors="backslashreplace"
        ) as file:
            file.write(text)
    except OSError as failure:
        return f"its traceback cannot be written ({failure.strerror or failure}):\n{text}"
    return f"please report it with {file.name}"
