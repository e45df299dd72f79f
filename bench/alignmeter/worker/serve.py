"""The worker process: answers the parent's requests about one cell until the pipe closes."""

__all__ = ["serve"]

import os
import signal
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from alignmeter.accelerators import broken_by_fork, open_accelerator
from alignmeter.cells.places import adopt_places
from alignmeter.children import die_with_parent
from alignmeter.worker.failures import classified


def serve(
    connection: Connection, output: Connection, born: float, places: Mapping[str, str]
) -> None:
    """Answer ``(verb, *arguments)`` with ``("ok", result)`` or ``("failed", status, code, text)``.

    Most verbs are methods of `Workload`. Everything the process prints goes to the file ``output``:
    the parent quotes its end if the process dies. ``born`` is the monotonic clock, which
    processes share, when the parent asked for the process. ``places``: where its files lie.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    die_with_parent()
    adopt_places(places)
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)
    from alignmeter.worker import preload  # noqa: F401 - done already where the server did it

    connection.send(("ok", (time.monotonic() - born, broken_by_fork())))
    workload: Any = None
    result: object
    while True:
        try:
            verb, *arguments = connection.recv()
        except EOFError:
            return
        if verb == "finish":
            _leave()
            return
        try:
            if verb == "open":
                from alignmeter.worker.workload import Workload

                workload, result = Workload(*arguments), None
            elif verb == "reference":
                from alignmeter.worker.agreement import make_reference

                result = make_reference(*arguments)
            elif verb == "join":
                _join(*arguments)
                result = None
            elif verb in ("ceilings", "links"):
                result = _reached(verb, *arguments)
            else:
                result = getattr(workload, verb)(*arguments)
            answer: tuple[object, ...] = ("ok", result)
        except BaseException as error:  # noqa: BLE001 - every failure becomes a record
            answer = ("failed", *classified(error))
        connection.send(answer)


def _join(counter: str, meeting: str, rank: int, size: int, accelerator: str, device: int) -> None:
    """Become that rank of a step, with the phases counted that it begins."""
    from alignmeter.parallel.group import join
    from alignmeter.worker.progress import Progress, count_phases

    count_phases(Progress(Path(counter), size), rank)
    opened = open_accelerator(accelerator)
    join(meeting, rank=rank, size=size, accelerator=opened, device=device)


def _reached(what: str, accelerator: str, *arguments: Any) -> object:
    """What the device reaches that no table has, or what its ranks reach between them."""
    opened = open_accelerator(accelerator)
    if what == "ceilings":
        return opened.own_ceilings()
    from alignmeter.parallel.measured_links import measure_collectives

    return measure_collectives(opened, *arguments)


def _leave() -> None:
    """Part from the other ranks, where the process became one."""
    from alignmeter.parallel.group import leave

    leave()
