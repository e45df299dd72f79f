"""Where ranks of a step run: workers of one machine, and the file in which they count phases."""

__all__ = ["LocalNode", "Member", "Node"]

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import psutil

from alignmeter.worker.progress import Progress


class Member(Protocol):
    """The parent's end of one worker, as `session.launcher.Worker`."""

    @property
    def pid(self) -> int:
        """Process id, on its own machine."""
        ...

    @property
    def places(self) -> tuple[Any, ...]:
        """What is ready once there is an answer."""
        ...

    def ask(self, verb: str, *arguments: object) -> None:
        """Ask for one thing."""
        ...

    def answer(self) -> Any:
        """What it says."""
        ...

    def close(self) -> None:
        """End it politely."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...


class Node(Protocol):
    """One machine, which has some of a step's ranks at a time."""

    def open(self, size: int) -> str:
        """Begin a step of ``size`` ranks: the path, there, of the file that counts phases."""
        ...

    def start(self) -> Member:
        """A fresh worker. Raises `CellError` if it does not come up."""
        ...

    def begun(self) -> list[int]:
        """How many phases each of the ranks has begun, those of other machines none."""
        ...

    def last(self) -> list[str]:
        """The phase that each has begun last."""
        ...

    def is_stuck(self, pid: int) -> bool:
        """Whether that worker is stopped, or busy: who waits for other ranks sleeps."""
        ...

    def end(self) -> None:
        """Forget the step."""
        ...


class LocalNode:
    """This machine."""

    def __init__(self, start: Callable[[], Member]) -> None:
        self.start = start
        self._folder: Path | None = None
        self._progress: Progress

    def open(self, size: int) -> str:
        """In a folder of its own, until `end`."""
        self._folder = Path(tempfile.mkdtemp(prefix="alignmeter-ranks-"))
        path = self._folder / "phases"
        self._progress = Progress(path, size, make=True)
        return str(path)

    def begun(self) -> list[int]:
        """As the file has it."""
        return self._progress.begun()

    def last(self) -> list[str]:
        """As the file has it."""
        return self._progress.last()

    def is_stuck(self, pid: int) -> bool:
        """As the system has it."""
        try:
            return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_RUNNING)
        except psutil.Error:
            return False

    def end(self) -> None:
        """Remove the folder."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
