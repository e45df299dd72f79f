"""Several workers of one replicate that take steps together: one answer, or whose fault it was."""

__all__ = ["Crew"]

import contextlib
import time
from collections.abc import Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, get_args

from alignmeter.accelerators.machines import this_machine
from alignmeter.errors import CellError
from alignmeter.records.ranks import RankStatus
from alignmeter.session.findings.ranks import RanksFound
from alignmeter.session.joined_answers import joined
from alignmeter.session.node import Member, Node

_STATUSES = get_args(RankStatus)
_JOIN_S = 180.0
"""As long as a worker may take to start: the first join imports torch's collectives."""
_GRACE_S = 0.5
"""After a failure, for the word of others: who was killed says nothing, and its peers complain."""


class Crew:
    """The parent's end of ``size`` workers, asked and answering as one `Worker`."""

    def __init__(
        self, nodes: Sequence[Node], size: int, accelerator: str, found: RanksFound | None = None
    ) -> None:
        """``nodes``: this machine, and others; each has as many ranks, which ``size`` allows.

        ``found``: is told what each rank says, and which one failed. Raises `CellError` if one does
        not come up.
        """
        began = time.monotonic()
        self._found = found or RanksFound(size=size)
        self._nodes = nodes
        self._each = size // len(nodes)
        self._workers: list[Member] = []
        try:
            counters = [node.open(size) for node in nodes]
            self._store, meeting = _meeting(counters)
            for rank in range(size):
                self._start(rank)
            for rank in range(size):
                counter, device = counters[rank // self._each], rank % self._each
                self._ask(rank, "join", counter, meeting, rank, size, accelerator, device)
            self._answers(time.monotonic() + _JOIN_S)
        except BaseException:
            self.kill()
            raise
        self.start_s = time.monotonic() - began

    def _start(self, rank: int) -> None:
        try:
            self._workers.append(self._node(rank).start())
        except CellError as error:
            self._raise(rank, error)

    def _node(self, rank: int) -> Node:
        return self._nodes[rank // self._each]

    @property
    def pid(self) -> int:
        """Process id of rank 0."""
        return self._workers[0].pid

    def call(self, verb: str, *arguments: object, timeout_s: float) -> Any:
        """Ask all ranks for one thing and wait for all of them.

        Raises `CellError` when one failed, hung or died, naming it; the others are ended with it.
        """
        for rank in range(len(self._workers)):
            self._ask(rank, verb, *arguments)
        answers = self._answers(time.monotonic() + timeout_s)
        self._found.note(verb, answers)
        return joined(answers)

    def _ask(self, rank: int, verb: str, *arguments: object) -> None:
        try:
            self._workers[rank].ask(verb, *arguments)
        except CellError as error:
            self._raise(rank, error)

    def _answers(self, deadline: float) -> list[Any]:
        """What each rank said, in order."""
        waiting, found = dict(enumerate(self._workers)), dict[int, Any]()
        failed: dict[int, CellError] = {}
        while waiting:
            places = {place: rank for rank, one in waiting.items() for place in one.places}
            ready = wait(list(places), max(deadline - time.monotonic(), 0.0))
            if not ready:
                break
            for rank in sorted({places[place] for place in ready}):
                try:
                    found[rank] = waiting.pop(rank).answer()
                except CellError as error:
                    failed[rank] = error
                    deadline = min(deadline, time.monotonic() + _GRACE_S)
        if failed:
            self._raise(*min(failed.items(), key=_blame))
        if waiting:
            self._raise_late(list(waiting))
        return [found[rank] for rank in sorted(found)]

    def _raise(self, rank: int, error: CellError) -> None:
        status: Any = error.status if error.status in _STATUSES else "crashed"
        self._found.fail([rank], status, self._last())
        self.kill()
        whose = f"rank {rank} of {self._found.size}: "
        raise CellError(error.status, error.code, whose + error.text) from error

    def _raise_late(self, waiting: list[int]) -> None:
        """Of those that did not answer in time: who has begun the fewest phases, or does not wait
        for others as they do for it.
        """
        begun = self._begun()
        behind = [rank for rank in waiting if begun[rank] == min(begun[r] for r in waiting)]
        if len(behind) == len(waiting):
            stopped = [r for r in behind if self._node(r).is_stuck(self._workers[r].pid)]
            behind = stopped or behind
        self._found.fail(behind, "timeout", self._last())
        self.kill()
        names = " and ".join(map(str, behind))
        ranks = f"rank{'' if len(behind) == 1 else 's'} {names} of {self._found.size}"
        raise CellError("timeout", "timeout", f"{ranks} held up a step past the time limit")

    def _begun(self) -> list[int]:
        """Phases, of each rank; every machine counts those of its own."""
        counts = [node.begun() for node in self._nodes]
        return [counts[rank // self._each][rank] for rank in range(len(self._workers))]

    def _last(self) -> list[str]:
        names = [node.last() for node in self._nodes]
        return [names[rank // self._each][rank] for rank in range(self._each * len(names))]

    def close(self) -> None:
        """End all: politely, then for certain."""
        for worker in self._workers:
            with contextlib.suppress(CellError):
                worker.ask("finish")  # together: who leaves alone cuts the others' connections
        for worker in self._workers:
            worker.close()
        self._end()

    def kill(self) -> None:
        """End all at once and tidy up."""
        for worker in self._workers:
            worker.kill()
        self._end()

    def _end(self) -> None:
        self._store = None
        for node in self._nodes:
            node.end()


def _meeting(counters: Sequence[str]) -> tuple[object, str]:
    """Where ranks meet: at a file beside the first counter, or, of several machines, at a store of
    this process, which has to be kept as long as they meet.
    """
    if len(counters) == 1:
        return None, str(Path(counters[0]).with_name("store"))
    from alignmeter.parallel.group import open_meeting

    return open_meeting(this_machine().address)


def _blame(failure: tuple[int, CellError]) -> int:
    """Who died comes first, then who had no memory left: others only lost the connection."""
    codes = ("worker_died", "out_of_memory")
    code = failure[1].code
    return codes.index(code) if code in codes else len(codes)
