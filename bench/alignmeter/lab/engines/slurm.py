"""Slurm: the jobs of a class are tasks of an array, submitted by plain ``sbatch``.

Each task starts the command of its class, which need not share an interpreter with this process; a
task of several nodes starts it on each, with the variables by which torchrun would.
Source: the manual pages of sbatch, srun, squeue, sinfo and scancel, Slurm 22.05.
"""

__all__ = ["Slurm"]

import re
import shlex
import subprocess
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from alignmeter.errors import InputError, known
from alignmeter.lab.engines.base import QUEUED, RUNNING, command_of
from alignmeter.lab.job import NODE_VARIABLE, Outcome
from alignmeter.lab.lab_file import Lab, NodeClass
from alignmeter.lab.submission import SentJob
from alignmeter.records.folder import write_bytes
from alignmeter.text import shortened

_MOST = 1000
"""Tasks of one array: one less than ``MaxArraySize`` is where nobody set it."""
_ASK_S = 60.0
_SAID = 200
_BEGUN = frozenset(("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT"))
"""States of squeue in which a task has a node; in all others that it lists, it waits for one."""
_MEETING = (
    'first="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"',
    'export MASTER_ADDR="${MASTER_ADDR:-$first}"',
    'export MASTER_PORT="${MASTER_PORT:-$((10000 + SLURM_JOB_ID % 20000))}"',
    'export WORLD_SIZE="$SLURM_NNODES"',
)
"""torchrun's variables. Each job has a port of its own, below those that a system gives away."""
_ON_EACH = 'exec srun --kill-on-bad-exit=1 bash -c \'RANK="$SLURM_PROCID" exec "$@"\' each'
_FEATURE = re.compile(r"[A-Za-z_][\w.-]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Node:
    """``gres``: each as ``gpu`` and as ``gpu:TYPE``."""

    name: str
    partition: str
    features: frozenset[str]
    gres: frozenset[str]


@dataclass(slots=True)
class _Place:
    """Nodes that a class can have, and those of them that refused a job."""

    nodes: frozenset[str]
    refused: set[str] = field(default_factory=set)


class Slurm:
    """Its jobs go on without the process that submitted them."""

    name = "slurm"
    poll_s = 1.0
    outlives = True
    several_nodes = True

    def __init__(self, lab: Lab, devices: tuple[int, ...] = ()) -> None:
        """Raises `InputError` for ``devices``: Slurm chooses them."""
        if devices:
            raise InputError("--devices is for the local engine; Slurm gives a job its devices")
        self._lab = lab
        self._places: dict[str, _Place] = {}

    def check(self) -> None:
        """Ask sinfo for the partition, features and gres of each class."""
        nodes = list(_nodes())
        for name, chosen in self._lab.classes.items():
            where = f"{self._lab.where}: [class.{name}]"
            fit = frozenset(node.name for node in _fitting(chosen, nodes, where))
            self._places[name] = _Place(fit)

    def room(self, node_class: str, devices: int) -> int:  # noqa: ARG002 - Slurm queues
        """No end of it, as long as a node is left."""
        place = self._places[node_class]
        return _MOST if place.nodes - place.refused else 0

    def submit(self, node_class: str, jobs: Sequence[SentJob]) -> list[str]:
        """One array of those that Slurm does not have."""
        there = _taken(jobs)
        new = [job for job in jobs if job.path not in there]
        if new:
            there |= self._array(node_class, new)
        return [there[job.path] for job in jobs]

    def _array(self, node_class: str, jobs: Sequence[SentJob]) -> dict[Path, str]:
        """Path of a job -> its handle. What Slurm calls the array is noted before Slurm has it."""
        chosen, first = self._lab.classes[node_class], jobs[0]
        name = f"{first.job.name}.{uuid.uuid4().hex}"
        for task, job in enumerate(jobs):
            write_bytes(_note(job), f"{name} {task}".encode())
        script = first.path.with_suffix(".sh")
        nodes = chosen.nodes_of(first.job.devices)
        write_bytes(script, _script(chosen, [job.path for job in jobs], nodes).encode())
        refused = self._places[node_class].refused if node_class in self._places else set()
        options = _options(chosen, first, len(jobs), refused)
        said = _asked(["sbatch", f"--job-name={name}", *options, str(script)])
        number = said.strip().partition(";")[0]
        return {job.path: f"{number}_{task}" for task, job in enumerate(jobs)}

    def active(self, handles: Collection[str]) -> Mapping[str, str]:
        """Of squeue, which forgets a job minutes after its end."""
        if not handles:
            return {}
        said = _asked(["squeue", "--noheader", "--array", "--format=%i %T"])
        states = dict(line.split() for line in said.splitlines() if line.strip())
        return {
            handle: RUNNING if states[handle] in _BEGUN else QUEUED
            for handle in handles
            if handle in states
        }

    def unplaced(self, handle: str) -> bool:  # noqa: ARG002 - Slurm lets a job wait
        """None is."""
        return False

    def cancel(self, handles: Collection[str]) -> None:
        """A task gets SIGTERM, and SIGKILL after the cluster's KillWait."""
        left = list(handles)
        if left:
            _asked(["scancel", *left])

    def avoid(self, handle: str, outcome: Outcome) -> None:  # noqa: ARG002 - the node says it
        """No later array goes to that node."""
        for place in self._places.values():
            place.refused |= {outcome.host} & place.nodes


def _note(job: SentJob) -> Path:
    """What Slurm calls the job's array, and its task there."""
    return job.path.with_suffix(".slurm")


def _taken(jobs: Sequence[SentJob]) -> dict[Path, str]:
    """Path of a job -> its handle, of those that Slurm has: by the names in their notes."""
    notes = {job.path: _note(job).read_text() for job in jobs if _note(job).is_file()}
    if not notes:
        return {}
    said = _asked(["squeue", "--noheader", "--array", "--format=%j %i"])
    named = (line.strip().rpartition(" ") for line in said.splitlines())
    there = {f"{name} {handle.partition('_')[2]}": handle for name, _, handle in named}
    return {path: there[note] for path, note in notes.items() if note in there}


def _options(
    chosen: NodeClass, first: SentJob, tasks: int, refused: Collection[str]
) -> Iterator[str]:
    throttle = f"%{chosen.throttle}" if chosen.throttle else ""
    yield from ("--parsable", "--requeue", f"--array=0-{tasks - 1}{throttle}")
    folder = str(first.path.parent).replace("%", "%%")
    yield f"--output={folder}/{_log_name(first.path, '%a')}"
    nodes = chosen.nodes_of(first.job.devices)
    yield from (f"--nodes={nodes}", "--ntasks-per-node=1", "--open-mode=append")
    per_node = -(-first.job.devices // nodes)
    named = {
        "--partition": chosen.partition,
        "--constraint": chosen.constraint,
        "--time": chosen.time_limit,
        "--gres": f"{chosen.gres}:{per_node}" if chosen.gres else None,
        "--exclude": ",".join(sorted(refused)) or None,
    }
    yield from (f"{option}={value}" for option, value in named.items() if value is not None)
    yield from chosen.sbatch


def _script(chosen: NodeClass, jobs: Sequence[Path], nodes: int) -> str:
    """What each task runs: the command of its own job, in place of the shell; on each of several
    nodes. Its log is found beside the job, as with other engines.
    """
    variables = [f"export {name}={shlex.quote(v)}" for name, v in chosen.environment.items()]
    begin, meeting = ("exec", ()) if nodes == 1 else (_ON_EACH, _MEETING)
    cases = [
        f"{task}) {_link(_log_name(jobs[0], task), job)}; "
        f"{begin} {shlex.join(command_of(chosen, job))};;"
        for task, job in zip(count(), jobs)
    ]
    return "\n".join([
        "#!/bin/bash",
        f'export {NODE_VARIABLE}="$SLURMD_NODENAME"',
        *variables,
        *meeting,
        'case "$SLURM_ARRAY_TASK_ID" in',
        *cases,
        "esac",
        "",
    ])  # fmt: skip


def _log_name(first: Path, task: object) -> str:
    """What Slurm calls the log of a task of the array with that first job."""
    return f"{first.stem}.{task}.log"


def _link(log: str, job: Path) -> str:
    return shlex.join(["ln", "-sf", log, str(job.with_suffix(".log"))])


def _nodes() -> Iterator[_Node]:
    """One for each node and partition."""
    try:
        said = _asked(["sinfo", "--noheader", "--Node", "--format=%N|%R|%f|%G"])
    except InputError as error:
        raise InputError(f"{error}; submit from a host on which it answers") from error
    for line in said.splitlines():
        name, partition, features, gres = line.split("|")
        kinds = [entry.partition("(")[0].split(":") for entry in gres.split(",")]
        yield _Node(
            name=name,
            partition=partition,
            features=frozenset(features.split(",")) - {"(null)"},
            gres=frozenset(":".join(kind[:n]) for kind in kinds for n in (1, 2)) - {""},
        )


def _fitting(chosen: NodeClass, nodes: Sequence[_Node], where: str) -> list[_Node]:
    """Nodes of the class's partition with its gres and with features that its constraint names.

    A constraint may be an expression; sbatch knows all its rules, and has the last word.
    """
    partitions = sorted({node.partition for node in nodes})
    if chosen.partition is not None and chosen.partition not in partitions:
        raise InputError(f"{where}: partition is {chosen.partition!r}; {known(partitions)}")
    here = [n for n in nodes if chosen.partition in (None, n.partition)]
    wanted = set(_FEATURE.findall(chosen.constraint or ""))
    features = set().union(*(node.features for node in here))
    if wanted - features:
        raise InputError(
            f"{where}: no node has the feature {min(wanted - features)!r} that constraint names; "
            f"{known(sorted(features))}"
        )
    here = [node for node in here if not wanted or wanted & node.features]
    kinds = sorted(set().union(*(node.gres for node in here)) - {"(null)"})
    if chosen.gres is not None and chosen.gres not in kinds:
        raise InputError(f"{where}: gres is {chosen.gres!r}; {known(kinds)}")
    return [node for node in here if chosen.gres is None or chosen.gres in node.gres]


def _asked(command: Sequence[str]) -> str:
    """What a command of Slurm answers. Raises `InputError` with its own words where it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - the cluster's own commands, no shell
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=_ASK_S,
        )  # fmt: skip
    except OSError as error:
        raise InputError(
            f"{command[0]} cannot be started ({error.strerror or error}); the Slurm engine needs "
            "the commands of a Slurm cluster"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"{command[0]} has not answered for {_ASK_S:g} s; jobs that are out go on, and the "
            "same command takes them up"
        ) from error
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"status {done.returncode}"
        said = said.removeprefix(f"{command[0]}: error: ")
        raise InputError(f"{command[0]}: {shortened(said, _SAID)}")
    return done.stdout
