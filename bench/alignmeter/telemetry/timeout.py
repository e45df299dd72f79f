"""A telemetry that never keeps its caller waiting: a driver call that hangs is given up on."""

__all__ = ["TIMEOUT_S", "WithTimeout"]

import queue
import threading
from collections.abc import Callable
from typing import Any

from alignmeter.telemetry.base import (
    Capabilities,
    Identity,
    Probe,
    Sample,
    Telemetry,
    nothing_read,
)

TIMEOUT_S = 5.0
"""A call takes well below 0.1 s; a driver that initialises a cold GPU has taken 2 s."""


class WithTimeout:
    """Another telemetry, asked from one thread of its own: AMD SMI wants a single one.

    ``opener`` runs in that thread too. After one time-out nothing is asked any more: the thread is
    stuck in the driver, and so would every other be.
    """

    def __init__(self, opener: Callable[[], Telemetry], timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._hung: str | None = None
        self._questions: queue.SimpleQueue[tuple[Callable[[], Any], Any] | None]
        self._questions = queue.SimpleQueue()
        # A daemon: a thread stuck in a driver must not keep the process from ending.
        threading.Thread(target=self._answer, name="telemetry", daemon=True).start()
        self._telemetry: Telemetry | None = None
        try:
            self._telemetry = self._ask(opener)
        except TimeoutError:
            return

    def _answer(self) -> None:
        while (question := self._questions.get()) is not None:
            function, reply = question
            try:
                reply.put((function(), None))
            except Exception as error:  # noqa: BLE001 - raised again where it was asked
                reply.put((None, error))

    def _ask(self, function: Callable[..., Any], *arguments: object) -> Any:
        if self._hung is not None:
            raise TimeoutError(self._hung)
        reply: queue.SimpleQueue[tuple[Any, Exception | None]] = queue.SimpleQueue()
        self._questions.put((lambda: function(*arguments), reply))
        try:
            answer, error = reply.get(timeout=self._timeout_s)
        except queue.Empty:
            self._hung = f"the driver did not answer within {self._timeout_s:g} s"
            raise TimeoutError(self._hung) from None
        if error is not None:
            raise error
        return answer

    def probe(self) -> Probe:
        """What the telemetry says; unavailable with a reason once it hangs."""
        remedy = "look for the driver's messages in the kernel log; a reboot often helps"
        try:
            if self._telemetry is not None:
                probe: Probe = self._ask(self._telemetry.probe)
                return probe
        except TimeoutError:
            pass  # the reason is kept
        return Probe(available=False, reason=self._hung, remedy=remedy)

    def devices(self) -> list[str]:
        """Keys of the devices; none once the driver hangs."""
        try:
            found: list[str] = [] if self._telemetry is None else self._ask(self._telemetry.devices)
        except TimeoutError:
            return []
        return found

    def identity(self, device: str) -> Identity:
        """Who that device is. Raises `TimeoutError` if the driver hangs."""
        identity: Identity = self._ask(self._known().identity, device)
        return identity

    def read(self, device: str) -> Sample:
        """Its figures now; none, each with the reason, once the driver hangs."""
        try:
            sample: Sample = self._ask(self._known().read, device)
        except TimeoutError as error:
            return nothing_read(str(error))
        return sample

    def capabilities(self, device: str) -> Capabilities:
        """What it can tell. Raises `TimeoutError` if the driver hangs."""
        capabilities: Capabilities = self._ask(self._known().capabilities, device)
        return capabilities

    def close(self) -> None:
        """Let the library go, unless the driver hangs, and end the thread."""
        try:
            if self._telemetry is not None:
                self._ask(self._telemetry.close)
        except TimeoutError:
            pass  # nobody can let go what is stuck
        self._questions.put(None)

    def _known(self) -> Telemetry:
        if self._telemetry is None:
            raise TimeoutError(self._hung)
        return self._telemetry
