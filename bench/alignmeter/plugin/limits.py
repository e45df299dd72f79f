"""Limits from outside: what ends a session early, and leaves a record and a report all the same."""

__all__ = ["Terminated", "catch_signals", "why_cut_short"]

import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from alignmeter.errors import InputError
from alignmeter.plugin.measuring import measuring
from alignmeter.text import plain

_ENDING = (signal.SIGTERM, signal.SIGHUP)
_WORKERS = ("cell", "largest_batch", "longest_sequence")
"""Fixtures that wait for a worker: a signal ends them at any moment."""


class Terminated(KeyboardInterrupt):
    """A signal asks the session to end; pytest treats it as Ctrl-C."""


def catch_signals() -> Callable[[], None]:
    """SIGTERM, and SIGHUP where nobody ignores it, end the session in order; returns the undoing.

    Only the first: schedulers and ``timeout`` send it to a process and again to its group.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    before = {s: signal.getsignal(s) for s in _ENDING if signal.getsignal(s) == signal.SIG_DFL}

    def end(number: int, _: object) -> None:
        for caught in before:
            signal.signal(caught, signal.SIG_IGN)
        raise Terminated(signal.Signals(number).name)

    for number in before:
        signal.signal(number, end)

    def undo() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    return undo


def why_cut_short(error: BaseException) -> tuple[str, str, str]:
    """Status, reason code and text of a cell whose measuring that exception ended.

    pytest-timeout raises pytest's own failure, whose text names it; others have a type that says
    so.
    """
    if isinstance(error, Terminated):
        return "crashed", "interrupted", f"{error} ended the run while this cell was measured"
    if isinstance(error, KeyboardInterrupt):
        return "crashed", "interrupted", "Ctrl-C ended the run while this cell was measured"
    if isinstance(error, InputError):
        return "crashed", "input_unusable", str(error)
    text = plain(str(error))
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if "timeout" in said.lower():
        return "timeout", "outer_timeout", said
    if isinstance(error, Exception) and not isinstance(error, pytest.exit.Exception):
        return "crashed", "exception", said
    return "crashed", "interrupted", said


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> object:
    """A cell's limit is a signal, also where pytest-timeout is asked for its thread.

    That thread ends the process at once, without a record or a report. It is meant for code that
    no signal can end; a cell runs in a worker, and who waits for it can be ended.
    """
    if settings.method != "thread" or measuring(item.config) is None:
        return None
    if threading.current_thread() is not threading.main_thread():
        return None
    if not set(_WORKERS) & set(getattr(item, "fixturenames", ())):
        return None
    by_signal = settings._replace(method="signal")
    return item.config.hook.pytest_timeout_set_timer(item=item, settings=by_signal)
