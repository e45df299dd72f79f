"""Worker processes: one fresh process per replicate, forked from a server that has the imports."""

__all__ = ["Launcher", "Worker"]

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from typing import Any

from alignmeter.accelerators.cpu import host_memory
from alignmeter.accelerators.machines import this_machine
from alignmeter.cells.cell import Cell
from alignmeter.cells.places import known_places
from alignmeter.children import main_left_alone, safe_path, variables
from alignmeter.errors import CellError, InputError
from alignmeter.session.crew import Crew
from alignmeter.session.findings.ranks import RanksFound
from alignmeter.session.fork_server import stop_server
from alignmeter.session.node import LocalNode
from alignmeter.session.nodes import RemoteNode
from alignmeter.streams import keep
from alignmeter.text import shortened
from alignmeter.units import bytes_text
from alignmeter.worker.serve import serve

_START_S = 180.0
"""The first worker waits for the server's imports: 7 s on two cores, minutes on a cold disk."""
_IMPORTED = ("preload", "server")
"""Modules of the worker that the server imports before it forks."""
_GRACE_S = 5.0
_SAID_BYTES = 16384
"""How much of the end of a worker's output is read when it died."""
_KEPT_BYTES = 1 << 20
"""The same, for the log."""
_TRACED = "USDT:"
"""Begins what torch's profiler prints of each start and stop of its own; nobody dies of that."""
_SERVER_LOST = 255
"""What multiprocessing gives as exit status when the forkserver can tell none."""
_ANY_SEED = {"PYTHONHASHSEED": "random"}
"""Where the caller's environment fixes it, all replicates would walk their sets in one order."""
_SIGNALS = {number.value: number.name for number in signal.Signals}


class Launcher:
    """Starts workers. Each round gets a new forkserver: children of one share its hash seed and
    address layout, so that replicates from one server would be too alike.
    """

    def __init__(self, others: Sequence[RemoteNode] | None = None) -> None:
        """``others``: further machines that have ranks of a step, as `open_nodes` has them.

        Raises `InputError` where there are such, and this surface does not take them.
        """
        if others is None:
            _check_alone()
        self._others = others or ()
        self._round: int | None = None
        self._spawns = False
        self._context: BaseContext = multiprocessing.get_context("forkserver")

    def __enter__(self) -> "Launcher":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin_round(self, number: int) -> None:
        """Make sure that workers come from the forkserver of round ``number``.

        Raises `InputError` if none can be started.
        """
        if number == self._round:
            return
        self.close()
        for node in self._others:
            node.begin_round(number)
        self._round = number
        if self._spawns:
            return
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([f"alignmeter.worker.{name}" for name in _IMPORTED])
        try:
            with safe_path(), variables(_ANY_SEED):
                forkserver.ensure_running()
        except OSError as error:
            raise InputError(
                f"no worker can be started: {error}; TMPDIR should name a folder one can write"
            ) from error
        self._context = context

    def close(self) -> None:
        """Stop the forkserver, if one runs."""
        stop_server()
        self._round = None

    def start(self) -> "Worker":
        """A fresh worker. Raises `CellError` if it does not come up.

        A worker whose server opened a device while it imported says so. From then on workers are
        spawned: each imports for itself, which takes seconds.
        """
        worker = Worker(self._context)
        if not worker.broken_by_fork:
            return worker
        worker.close()
        stop_server()
        self._spawns = True
        self._context = multiprocessing.get_context("spawn")
        return Worker(self._context)

    def start_for(self, cell: Cell, found: RanksFound | None) -> "Worker | Crew":
        """A fresh worker for the cell, or as many as it wants devices; ``found`` as `Crew`'s.

        Raises as `start`.
        """
        if cell.world_size == 1:
            return self.start()
        return self.crew(cell.world_size, cell.accelerator, found)

    def crew(self, size: int, accelerator: str, found: RanksFound | None = None) -> Crew:
        """``size`` fresh workers, as many on each machine. Raises as `Crew`."""
        return Crew([LocalNode(self.start), *self._others], size, accelerator, found)


def _check_alone() -> None:
    """Each of several processes would measure all."""
    if this_machine().count > 1:
        raise InputError(
            "RANK and WORLD_SIZE are set, as torchrun sets them; only `alignmeter run` and "
            "`alignmeter cell` take several machines: unset them"
        )


class Worker:
    """The parent's end of one worker process."""

    def __init__(self, context: BaseContext) -> None:
        self.start_s: float
        self.broken_by_fork: bool
        # Memory with a handle and no name: nothing is left behind, whoever dies.
        self._output = Connection(os.memfd_create("alignmeter-worker"), readable=False)
        self._connection, child = context.Pipe()
        process: Any = context.Process  # type: ignore[attr-defined]
        arguments = child, self._output, time.monotonic(), known_places()
        self._process = process(target=serve, args=arguments, daemon=True)
        try:
            self._launch()
            child.close()
            self.start_s, self.broken_by_fork = self._receive(_START_S)
        except BaseException:
            # Also on Ctrl-C: a worker left behind would keep its forkserver from ending.
            self.kill()
            raise

    def _launch(self) -> None:
        try:
            # A forkserver that ended is started again.
            with safe_path(), variables(_ANY_SEED), main_left_alone():
                self._process.start()
        except (OSError, EOFError) as error:  # EOF: the forkserver went meanwhile
            text = f"no worker could be started: {str(error) or 'its server ended'}"
            raise CellError("crashed", "worker_died", text) from error

    @property
    def pid(self) -> int:
        """Process id."""
        return int(self._process.pid)

    def call(self, verb: str, *arguments: object, timeout_s: float) -> Any:
        """Ask for one thing and wait. Raises `CellError` when it failed, hung or died."""
        self.ask(verb, *arguments)
        return self._receive(timeout_s)

    def ask(self, verb: str, *arguments: object) -> None:
        """Ask for one thing, whose `answer` comes later. Raises `CellError` where nobody lives."""
        try:
            self._connection.send((verb, *arguments))
        except OSError:
            self._raise_dead()

    @property
    def places(self) -> tuple[Any, ...]:
        """What `multiprocessing.connection.wait` finds ready once there is an `answer`."""
        return self._connection, self._process.sentinel

    def _receive(self, timeout_s: float) -> Any:
        if not wait(self.places, max(timeout_s, 0.0)):
            self.kill()
            raise CellError("timeout", "timeout", "the replicate passed its time limit")
        return self.answer()

    def answer(self) -> Any:
        """What it says, waiting for it. Raises `CellError` when it failed or died."""
        try:
            kind, *rest = self._connection.recv()
        except (EOFError, OSError):
            self._raise_dead()
        if kind == "ok":
            return rest[0]
        raise CellError(*rest)

    def _raise_dead(self) -> None:
        self._process.join(_GRACE_S)
        code = self._process.exitcode
        how = "stopped answering" if code is None else f"ended with exit status {code}"
        if code == _SERVER_LOST:
            how = "ended with the server that it was forked from"
        elif code is not None and code < 0:
            name = _SIGNALS.get(-code, f"signal {-code}")
            how = f"was ended by {name}{_killed() if name == 'SIGKILL' else ''}"
        said_lines = self._said(_SAID_BYTES).decode(errors="replace").strip().splitlines()
        tail = [line for line in said_lines if not line.startswith(_TRACED)][-3:]
        said = f"; its last words: {' / '.join(tail)}" if tail else ""
        raise CellError("crashed", "worker_died", shortened(f"the worker {how}{said}", 2000))

    def _said(self, most: int) -> bytes:
        """The end of what the process printed; nothing once its output is closed."""
        if self._output.closed:
            return b""
        size = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), most, max(0, size - most))

    def close(self) -> None:
        """End the process: politely, then for certain."""
        with contextlib.suppress(OSError):
            self._connection.send(("finish",))
        self._process.join(_GRACE_S)
        self.kill()

    def kill(self) -> None:
        """End the process at once and tidy up."""
        if self._process.is_alive():
            self._process.kill()
            self._process.join(_GRACE_S)
        self._connection.close()
        keep(self._said(_KEPT_BYTES))
        self._output.close()


def _killed() -> str:
    memory = host_memory()
    of = f": {memory.by} allows {bytes_text(memory.total_bytes)}" if memory.by else ""
    return f" (the kernel does that when memory runs out{of})"
