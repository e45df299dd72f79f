"""The other machines of a step, as the first one has them: each has an alignmeter that serves it.

They meet as torch's ``env://`` does (https://docs.pytorch.org/docs/stable/distributed.html), at the
store that torchrun keeps or the first machine opens. What is said goes through a connection for
each machine and one for each of its workers; who comes has to know a key that the store holds.
"""

__all__ = ["KILL", "RemoteNode", "connect", "open_nodes"]

import contextlib
import platform
import secrets
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from multiprocessing.connection import (
    Client,
    Connection,
    answer_challenge,
    deliver_challenge,
    wait,
)
from typing import Any

from alignmeter import __version__
from alignmeter.accelerators.machines import Machine, this_machine
from alignmeter.cells.places import known_places
from alignmeter.errors import CellError, InputError
from alignmeter.text import shortened

_COME = timedelta(seconds=300)
"""Until all machines are there: a scheduler starts them together, and imports take a while."""
KILL = ("kill",)
"""What ends a worker at once."""
_SAID = 120
_KEY, _PORT, _THERE = "alignmeter/key", "alignmeter/port", "alignmeter/there/{}"


class RemoteMember:
    """The end, on the first machine, of a worker on another."""

    def __init__(self, connection: Connection, pid: int, host: str) -> None:
        self.pid = pid
        self._connection, self._host = connection, host

    @property
    def places(self) -> tuple[Any, ...]:
        """The connection."""
        return (self._connection,)

    def ask(self, verb: str, *arguments: object) -> None:
        """Ask for one thing. Raises `CellError` where the machine is gone."""
        try:
            self._connection.send((verb, *arguments))
        except OSError as error:
            raise _gone(self._host) from error

    def answer(self) -> Any:
        """What it says. Raises `CellError` when it failed or died, or its machine is gone."""
        return _answer(self._connection, self._host)

    def close(self) -> None:
        """End it: its machine waits for it."""
        self._connection.close()

    def kill(self) -> None:
        """The same at once."""
        with contextlib.suppress(OSError):
            self._connection.send(KILL)
        self._connection.close()


class RemoteNode:
    """Another machine. ``host``: its name."""

    def __init__(self, control: Connection, door: "_Door") -> None:
        self._control, self._door = control, door
        self._size = 0
        self.host, version = control.recv()
        if version != __version__:
            raise InputError(
                f"{self.host} has alignmeter {version}, this machine {__version__}; install the "
                "same on each"
            )

    def _asked(self, *question: object) -> Any:
        try:
            self._control.send(question)
        except OSError as error:
            raise _gone(self.host) from error
        return _answer(self._control, self.host)

    def begin_round(self, number: int) -> None:
        """As `Launcher.begin_round`. Raises `InputError` where it cannot."""
        try:
            self._asked("begin_round", number, dict(known_places()))
        except CellError as error:
            raise InputError(f"{self.host}: {error.text}") from error

    def open(self, size: int) -> str:
        """Begin a step of ``size`` ranks: the path, there, of the file that counts phases.

        Raises `CellError` where the machine is gone.
        """
        self._size = size
        return str(self._asked("open", size))

    def start(self) -> RemoteMember:
        """A fresh worker there. Raises `CellError` if it does not come up."""
        try:
            self._control.send(("start",))
            connection = self._door.accept(self._control)
        except (EOFError, OSError) as error:
            raise _gone(self.host) from error
        return RemoteMember(connection, _answer(connection, self.host), self.host)

    def begun(self) -> list[int]:
        """As its file has it; none where the machine is gone."""
        with contextlib.suppress(CellError):
            return list(self._asked("begun"))
        return [0] * self._size

    def last(self) -> list[str]:
        """As its file has it; empty where the machine is gone."""
        with contextlib.suppress(CellError):
            return list(self._asked("last"))
        return [""] * self._size

    def is_stuck(self, pid: int) -> bool:
        """As its system has it; so it is where the machine is gone."""
        with contextlib.suppress(CellError):
            return bool(self._asked("is_stuck", pid))
        return True

    def end(self) -> None:
        """Forget the step, whose workers are ended first."""
        with contextlib.suppress(CellError):
            self._asked("end")

    def finish(self) -> None:
        """Let it go."""
        with contextlib.suppress(OSError):
            self._control.send(("finish",))
        self._control.close()


class _Door:
    """Where connections to the first machine come in, of those who know the key.

    As `multiprocessing.connection.Listener`, which cannot be waited for beside another connection.
    """

    def __init__(self, address: str, key: bytes) -> None:
        self._socket, self._key = socket.create_server((address, 0)), key
        self.port = int(self._socket.getsockname()[1])

    def accept(self, control: Connection | None = None) -> Connection:
        """The next one. Raises `EOFError` where the machine of ``control`` is gone instead, and
        where nobody comes.
        """
        awaited: list[Any] = [self._socket] if control is None else [self._socket, control]
        if self._socket not in wait(awaited, _COME.total_seconds()):
            raise EOFError
        connection = Connection(self._socket.accept()[0].detach())
        deliver_challenge(connection, self._key)
        answer_challenge(connection, self._key)
        return connection

    def close(self) -> None:
        """Let nobody in any more."""
        self._socket.close()


def _answer(connection: Connection, host: str) -> Any:
    try:
        kind, *rest = connection.recv()
    except (EOFError, OSError) as error:
        raise _gone(host) from error
    if kind == "ok":
        return rest[0]
    raise CellError(*rest)


def _gone(host: str) -> CellError:
    return CellError("crashed", "worker_died", f"the alignmeter of {host} is gone")


@contextlib.contextmanager
def open_nodes() -> Iterator[list[RemoteNode]]:
    """The machines beside this first one; none where it is alone.

    Raises `InputError` where one does not come, or has another version.
    """
    machine = this_machine()
    if machine.count == 1:
        yield []
        return
    store, key = _store(machine), secrets.token_hex(32)
    door, nodes = _Door(machine.address, key.encode()), list[RemoteNode]()
    try:
        store.set(_KEY, key)
        store.set(_PORT, str(door.port))
        for number in range(1, machine.count):
            _wait(store, number, machine.count)
            nodes.append(RemoteNode(_entered(door, number), door))
        yield nodes
    finally:
        for node in nodes:
            node.finish()
        door.close()


def connect() -> tuple[Connection, Callable[[], Connection]]:
    """From another machine: the connection to the first one, and what makes one for a worker.

    Raises `InputError` where the first one is not there.
    """
    machine = this_machine()
    store = _store(machine)
    store.set(_THERE.format(machine.number), "")
    key, port = (store.get(name) for name in (_KEY, _PORT))

    def connected() -> Connection:
        return Client((machine.address, int(port)), authkey=key)

    control = connected()
    control.send((platform.node(), __version__))
    return control, connected


def _store(machine: Machine) -> Any:
    import torch.distributed

    meeting: Any = torch.distributed  # torch exports the name at run time only
    size = machine.count
    try:
        place = meeting.rendezvous("env://", machine.number, world_size=size, timeout=_COME)
        store, _, _ = next(place)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"no meeting at MASTER_ADDR {machine.address}, MASTER_PORT {machine.port}: "
            f"{shortened(str(error), _SAID)}"
        ) from error
    return store


def _entered(door: _Door, number: int) -> Connection:
    try:
        return door.accept()
    except (EOFError, OSError) as error:
        raise InputError(f"machine {number} went before it was connected; start again") from error


def _wait(store: Any, number: int, count: int) -> None:
    try:
        store.wait([_THERE.format(number)], _COME)
    except RuntimeError as error:  # torch's DistStoreError is one
        raise InputError(
            f"machine {number} of {count} has not come in {_COME.total_seconds():g} s; start the "
            f"same command there with RANK={number}"
        ) from error
