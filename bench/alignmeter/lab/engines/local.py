"""This machine: one process per device, one job at a time on each."""

__all__ = ["Local"]

import contextlib
import functools
import json
import os
import platform
import signal
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from alignmeter.accelerators import open_accelerator
from alignmeter.children import die_with_parent
from alignmeter.errors import InputError
from alignmeter.lab.engines.base import RUNNING, command_of
from alignmeter.lab.job import Outcome
from alignmeter.lab.lab_file import Lab, NodeClass
from alignmeter.lab.submission import SentJob
from alignmeter.text import shortened

_GRACE_S = 10.0
"""A cell's worker ends within 5 s of being told to."""
_ASK_S = 300.0
"""`alignmeter devices` imports torch: seconds, and minutes on a cold disk."""
_SAID = 120


@dataclass(eq=False, slots=True)
class _Slot:
    """One device. ``index``: as torch numbers it; ``None``: the host, which all its cells share.

    ``handle``: of the job that has it now; ``last``: that had it last.
    """

    accelerator: str
    index: int | None
    handle: str | None = None
    last: str | None = None
    refused: bool = False


class Local:
    """Jobs are children of this process, and end with it."""

    name = "local"
    poll_s = 0.05
    outlives = False
    several_nodes = False

    def __init__(self, lab: Lab, devices: tuple[int, ...] = ()) -> None:
        self._lab = lab
        self._chosen = devices
        self._slots: list[_Slot] = []
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def check(self) -> None:
        """Ask each class's own alignmeter what is here."""
        self._slots = []
        for name, chosen in self._lab.classes.items():
            count = self._count(name, chosen)
            pinned = open_accelerator(chosen.accelerator).pinned_by
            numbers = self._numbers(name, count) if pinned else [None]
            there = {(slot.accelerator, slot.index) for slot in self._slots}
            self._slots += [
                _Slot(chosen.accelerator, i)
                for i in numbers
                if (chosen.accelerator, i) not in there
            ]
        if self._chosen and all(slot.index is None for slot in self._slots):
            raise InputError(
                f"--devices: no class of {self._lab.where} has devices with numbers; leave it out"
            )

    def _count(self, name: str, chosen: NodeClass) -> int:
        where = f"{self._lab.where}: [class.{name}]"
        rows = _devices(chosen, where)
        row = next((r for r in rows if r["accelerator"] == chosen.accelerator), None)
        missing = "its alignmeter does not know it" if row is None else row["torch_missing"]
        if missing is not None:
            here = [r["accelerator"] for r in rows if r["torch_missing"] is None]
            raise InputError(
                f"{where}: {chosen.accelerator} is not on this machine "
                f"({shortened(missing, _SAID)}); here: {', '.join(here) or 'nothing'}; --class "
                "chooses classes"
            )
        return int(row["torch_devices"]) if row is not None else 0

    def _numbers(self, name: str, count: int) -> list[int | None]:
        for number in self._chosen:
            if number >= count:
                raise InputError(
                    f"--devices: there is no device {number} of [class.{name}]; it has "
                    f"0 to {count - 1}"
                )
        return list(self._chosen or range(count))

    def room(self, node_class: str, devices: int) -> int:
        """Cells of the host's own processor run alone: they would disturb all others."""
        accelerator = self._lab.classes[node_class].accelerator
        if open_accelerator(accelerator).pinned_by:
            busy = any(slot.handle for slot in self._slots if slot.index is None)
            return 0 if busy else len(self._free(accelerator)) // devices
        return 0 if any(slot.handle for slot in self._slots) else len(self._free(accelerator))

    def _free(self, accelerator: str) -> list[_Slot]:
        return [
            slot
            for slot in self._slots
            if slot.accelerator == accelerator and slot.handle is None and not slot.refused
        ]

    def submit(self, node_class: str, jobs: Sequence[SentJob]) -> list[str]:
        """One child each."""
        return [self._start(self._lab.classes[node_class], sent) for sent in jobs]

    def _start(self, chosen: NodeClass, sent: SentJob) -> str:
        free = self._free(chosen.accelerator)
        # Processes on the host share it, however many a cell has.
        slots = free[: sent.job.devices] if free[0].index is not None else free[:1]
        environment = {**os.environ, **chosen.environment}
        environment |= _pinning(chosen.accelerator, slots, environment)
        command = command_of(chosen, sent.path)
        with sent.path.with_suffix(".log").open("ab") as log:
            try:
                process = subprocess.Popen(  # noqa: S603 - the lab's own command, no shell
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    start_new_session=True,  # Ctrl-C is for us, who end it politely
                    preexec_fn=functools.partial(die_with_parent, os.getpid()),
                )
            except OSError as error:
                raise InputError(
                    f"{self._lab.where}: [class.{sent.job.node_class}]: {command[0]!r} cannot be "
                    f"started: {error.strerror or error}"
                ) from error
        handle = f"{platform.node()}/{process.pid}/{_started(process.pid)}"
        self._processes[handle] = process
        for slot in slots:
            slot.handle = slot.last = handle
        return handle

    def active(self, handles: Collection[str]) -> Mapping[str, str]:
        """Of other processes' children too; on another machine nobody can tell, and none is."""
        for handle, process in list(self._processes.items()):
            if process.poll() is not None:
                del self._processes[handle]
                _end_group(process.pid, signal.SIGKILL)  # what a job left behind
                for slot in self._slots:
                    slot.handle = None if slot.handle == handle else slot.handle
        return {h: RUNNING for h in handles if h in self._processes or _lives(h)}

    def unplaced(self, handle: str) -> bool:  # noqa: ARG002 - each begins at once
        """None is."""
        return False

    def cancel(self, handles: Collection[str]) -> None:
        """SIGTERM, and after some seconds SIGKILL, for all that the job started."""
        mine = {h: self._processes[h] for h in handles if h in self._processes}
        for process in mine.values():
            process.terminate()  # it alone: a cell whose worker is ended under it has a record
        end = time.monotonic() + _GRACE_S
        for process in mine.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, end - time.monotonic()))
            _end_group(process.pid, signal.SIGKILL)
            process.wait()
        self.active(())

    def avoid(self, handle: str, outcome: Outcome) -> None:  # noqa: ARG002 - every host is this one
        """No job for the devices that it had."""
        for slot in self._slots:
            slot.refused |= slot.last == handle


def _devices(chosen: NodeClass, where: str) -> list[dict[str, Any]]:
    command = [*chosen.program, "devices", "--json"]
    try:
        done = subprocess.run(  # noqa: S603 - the lab's own command, no shell
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**os.environ, **chosen.environment},
            timeout=_ASK_S,
            check=True,
        )
        rows: list[dict[str, Any]] = json.loads(done.stdout)
    except OSError as error:
        raise InputError(
            f"{where}: {command[0]!r} cannot be started: {error.strerror or error}; give an "
            "interpreter or a command that has alignmeter"
        ) from error
    except (subprocess.SubprocessError, ValueError) as error:
        said = (getattr(error, "stderr", None) or b"").decode(errors="replace").split("\n")
        last = next((line for line in reversed(said) if line.strip()), str(error))
        raise InputError(
            f"{where}: `{shortened(' '.join(command), _SAID)}` does not answer: "
            f"{shortened(last.strip(), _SAID)}; give one that has alignmeter"
        ) from error
    return rows


def _pinning(
    accelerator: str, slots: Sequence[_Slot], environment: Mapping[str, str]
) -> dict[str, str]:
    """What leaves a process these devices alone. Numbers count what an outer mask leaves."""
    variable = open_accelerator(accelerator).pinned_by
    if not variable:
        return {}
    mask = [entry.strip() for entry in environment.get(variable, "").split(",") if entry.strip()]
    numbers = [slot.index for slot in slots if slot.index is not None]
    return {variable: ",".join(mask[i] if mask else str(i) for i in numbers)}


def _started(pid: int) -> float:
    """Tells a process from a later one of its number."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return 0.0


def _lives(handle: str) -> bool:
    host, pid, started = handle.rsplit("/", 2)
    return host == platform.node() and _started(int(pid)) == float(started) != 0.0


def _end_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
