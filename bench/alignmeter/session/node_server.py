"""What a process does on a machine that is not the first one: it has workers for that one."""

__all__ = ["serve_node"]

import contextlib
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, wait
from typing import Any

from alignmeter.cells.places import adopt_places
from alignmeter.errors import CellError, InputError
from alignmeter.records.reasons import Code
from alignmeter.session.launcher import Launcher, Worker
from alignmeter.session.node import LocalNode
from alignmeter.session.nodes import KILL, connect


def serve_node() -> None:
    """Serve the first machine until it has finished; then no worker is left.

    Raises `InputError` where it is not there, and where it went without a word.
    """
    control, connected = connect()
    with Launcher(()) as launcher:
        server = _Server(launcher, connected)
        try:
            server.serve(control)
        finally:
            server.end()


class _Server:
    """Answers one question after the other, of the first machine and of each worker's connection.

    ``_workers``: by the first machine's connection of each; ``None`` of one that has died.
    """

    def __init__(self, launcher: Launcher, connected: Callable[[], Connection]) -> None:
        self._launcher, self._connected = launcher, connected
        self._node = LocalNode(launcher.start)
        self._workers: dict[Connection, Worker | None] = {}

    def serve(self, control: Connection) -> None:
        """Until the first machine says that it has finished."""
        while True:
            said = {place: one for one, w in self._workers.items() if w for place in w.places}
            ready = wait([control, *self._workers, *said])
            for connection in dict.fromkeys(said[place] for place in ready if place in said):
                self._answered(connection)
            for connection in [one for one in self._workers if one in ready]:
                self._passed_on(connection)
            if control in ready and not self._ruled(control):
                return

    def _ruled(self, control: Connection) -> bool:
        """Answer the first machine; whether it goes on."""
        try:
            verb, *arguments = control.recv()
        except (EOFError, OSError) as error:
            raise InputError(
                "the first machine's alignmeter is gone, and this one's workers with it"
            ) from error
        if verb == "finish":
            return False
        if verb == "start":
            self._start()
            return True
        own: dict[str, Callable[..., Any]] = {"begin_round": self._begin_round, "end": self.end}
        asked = own.get(verb) or getattr(self._node, verb)
        try:
            answer: tuple[Any, ...] = ("ok", asked(*arguments))
        except InputError as error:
            answer = "failed", "crashed", "worker_died", str(error)
        control.send(answer)
        return True

    def _begin_round(self, number: int, places: Mapping[str, str]) -> None:
        adopt_places(places)
        self._launcher.begin_round(number)

    def _start(self) -> None:
        connection = self._connected()
        try:
            worker = self._launcher.start()
        except CellError as error:
            connection.send(_failed(error))
            connection.close()
            return
        connection.send(("ok", worker.pid))
        self._workers[connection] = worker

    def _passed_on(self, connection: Connection) -> None:
        """What a worker is asked; its connection's end ends it."""
        worker = self._workers[connection]
        try:
            message = connection.recv()
        except (EOFError, OSError):
            self._forget(connection, at_once=False)
            return
        if message == KILL:
            self._forget(connection, at_once=True)
        elif worker is not None:
            try:
                worker.ask(*message)
            except CellError as error:
                self._say(connection, error)

    def _answered(self, connection: Connection) -> None:
        worker = self._workers[connection]
        if worker is None:
            return
        try:
            answer = worker.answer()
        except CellError as error:
            self._say(connection, error)
        else:
            with contextlib.suppress(OSError):
                connection.send(("ok", answer))

    def _say(self, connection: Connection, error: CellError) -> None:
        worker = self._workers[connection]
        if worker is not None and error.code == Code.WORKER_DIED:
            worker.kill()
            self._workers[connection] = None
        with contextlib.suppress(OSError):
            connection.send(_failed(error))

    def _forget(self, connection: Connection, *, at_once: bool) -> None:
        worker = self._workers.pop(connection)
        connection.close()
        if worker is not None:
            (worker.kill if at_once else worker.close)()

    def end(self) -> None:
        """Of a step: no worker is left, nor what they counted."""
        for connection in list(self._workers):
            if connection.poll():
                self._passed_on(connection)
        for connection in list(self._workers):
            self._forget(connection, at_once=True)
        self._node.end()


def _failed(error: CellError) -> tuple[str, str, str, str]:
    return "failed", error.status, error.code, error.text
