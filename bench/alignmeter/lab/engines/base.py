"""What is asked of an engine: a few questions, and jobs by the paths of their files."""

__all__ = ["ENDED", "QUEUED", "RUNNING", "Engine", "command_of"]

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from alignmeter.lab.job import Outcome
from alignmeter.lab.lab_file import NodeClass
from alignmeter.lab.submission import SentJob

QUEUED = "queued"
RUNNING = "running"
ENDED = "ended"
"""Of a job that its engine was asked for and has no longer."""


class Engine(Protocol):
    """It hands jobs to nodes. A handle is what it calls a job; it means the same in any process.

    ``name``: of its row. ``poll_s``: between two questions, in s. ``outlives``: whether its jobs
    go on without the process that submitted them. ``several_nodes``: whether it starts a job on
    several of them at once.
    """

    name: str
    poll_s: float
    outlives: bool
    several_nodes: bool

    def check(self) -> None:
        """Raises `InputError` for a class that it does not have, with those that it has."""
        ...

    def room(self, node_class: str, devices: int) -> int:
        """Jobs of so many devices that it takes of this class now."""
        ...

    def submit(self, node_class: str, jobs: Sequence[SentJob]) -> list[str]:
        """Take them, at most as many as there is `room`; their handles, in their order.

        An engine whose jobs outlive this process may have one of them: who submitted it was killed
        before it noted the handle. Such a job is not taken twice.

        Raises `InputError` where it refuses them.
        """
        ...

    def active(self, handles: Collection[str]) -> Mapping[str, str]:
        """Handle -> `QUEUED` or `RUNNING`, of those that have not ended."""
        ...

    def unplaced(self, handle: str) -> bool:
        """Whether it ended because it never got a node, so that no task of it is to blame."""
        ...

    def cancel(self, handles: Collection[str]) -> None:
        """End them, however far they are; returns when none of its own processes is left."""
        ...

    def avoid(self, handle: str, outcome: Outcome) -> None:
        """Give no further job to the place that refused this one."""
        ...


def command_of(chosen: NodeClass, job: Path) -> list[str]:
    """The words that run a job in the environment of its class."""
    words = [*chosen.program, "cell", "--jobs", str(job)]
    if not chosen.modules:
        return words
    # `module` is a function of a login shell.
    return ["bash", "-lc", 'module load "${@:1:$0}" && shift "$0" && exec "$@"',
            str(len(chosen.modules)), *chosen.modules, *words]  # fmt: skip
