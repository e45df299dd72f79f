"""Ray: each job is one of Ray's Jobs API, whose command runs on a node with the class's resource.

Who submits speaks HTTP with the cluster's dashboard. It imports no Ray, whose Python would have to
be the cluster's. Source: the REST API of Ray Jobs, and `ray list nodes`, in Ray 2.60.
"""

__all__ = ["Ray"]

import os
import shlex
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from alignmeter.accelerators import open_accelerator
from alignmeter.errors import InputError, known
from alignmeter.lab.engines.base import QUEUED, RUNNING, command_of
from alignmeter.lab.job import Outcome
from alignmeter.lab.lab_file import Lab, NodeClass
from alignmeter.lab.submission import SentJob
from alignmeter.text import shortened

_DASHBOARD = "http://127.0.0.1:8265"
_ASK_S = 60.0
_STOP_S = 10.0
"""Ray sends SIGTERM, and SIGKILL 3 s later."""
_SAID = 120
_GPU = "GPU"
"""What Ray calls a device of each of the vendors that it finds by itself."""
_OWN = frozenset((_GPU, "CPU", "memory", "object_store_memory"))
_SHARE = 0.001
"""Of a resource that says what a node is: any number of jobs has it at once."""
_STATES = {"PENDING": QUEUED, "RUNNING": RUNNING}
_NEED, _FILE = "alignmeter", "alignmeter job"
"""Of a job's metadata: `_Need`, and the path of its file."""
_NEVER_BEGAN = "JOB_SUPERVISOR_ACTOR_START_TIMEOUT"

_T = TypeVar("_T")


class _Node(msgspec.Struct):
    """``resources_total``: how much it has of each, used or not."""

    node_id: str
    state: str
    resources_total: dict[str, float]


class _Rows(msgspec.Struct):
    result: list[_Node]


class _Data(msgspec.Struct):
    result: _Rows


class _Nodes(msgspec.Struct):
    data: _Data


@dataclass(frozen=True, kw_only=True, slots=True)
class _Need:
    """What a job needs: ``count`` of ``counted``, on a node that has ``resource``."""

    resource: str
    counted: str
    count: int

    @classmethod
    def of(cls, chosen: NodeClass, devices: int) -> "_Need":
        """GPUs; of the host's own processor, whose cells run alone, one of the class's resource."""
        if open_accelerator(chosen.accelerator).pinned_by:
            return cls(resource=chosen.ray or _GPU, counted=_GPU, count=devices)
        return cls(resource=chosen.ray or "", counted=chosen.ray or "", count=1)

    def offered(self, node: _Node) -> int:
        """Jobs like this one that the node runs at once."""
        if self.resource not in node.resources_total:
            return 0
        return int(node.resources_total.get(self.counted, 0)) // self.count


class _Job(msgspec.Struct):
    """Of the Jobs API, which lists drivers too that nobody submitted: without ``submission_id``."""

    status: str
    submission_id: str | None = None
    metadata: dict[str, str] | None = None
    driver_node_id: str | None = None
    error_type: str | None = None

    def need(self) -> _Need | None:
        """What it keeps from others, if it is one of this project's and has not ended."""
        said = (self.metadata or {}).get(_NEED)
        if said is None or self.status not in _STATES:
            return None
        return msgspec.json.decode(said, type=_Need)


class Ray:
    """Its jobs go on without the process that submitted them."""

    name = "ray"
    poll_s = 1.0
    outlives = True
    several_nodes = False

    def __init__(self, lab: Lab, devices: tuple[int, ...] = ()) -> None:
        """Raises `InputError` for ``devices``: Ray chooses them."""
        if devices:
            raise InputError("--devices is for the local engine; Ray gives a job its devices")
        self._lab = lab
        self._up: list[_Node] | None = None
        self._out: dict[str, _Need] = {}
        self._had: dict[str, str] = {}
        self._unplaced: set[str] = set()
        self._refused: set[str] = set()

    def check(self) -> None:
        """Ask the cluster which resources its nodes have."""
        nodes = self._nodes()
        names = set().union(*(node.resources_total for node in nodes)) - _OWN
        for name, chosen in self._lab.classes.items():
            where = f"{self._lab.where}: [class.{name}]"
            need = _Need.of(chosen, 1)
            if not need.resource:
                raise InputError(
                    f'{where}: ray is missing; name a resource, e.g. "host", of which each of its '
                    "nodes was started with 1: cells of a processor run alone"
                )
            if chosen.ray is not None and chosen.ray not in names:
                told = sorted(n for n in names if not n.startswith("node:"))
                raise InputError(f"{where}: ray is {chosen.ray!r}; {known(told, chosen.ray)}")
            if not any(need.offered(node) for node in nodes):
                raise InputError(
                    f"{where}: no node with {need.resource!r} has a {need.counted}; "
                    "start its nodes with --num-gpus"
                )

    def room(self, node_class: str, devices: int) -> int:
        """As many as its nodes run at once: a job that waits in Ray for 15 min fails there."""
        need = _Need.of(self._lab.classes[node_class], devices)
        nodes = [node for node in self._nodes() if node.node_id not in self._refused]
        places = [node for node in nodes if need.offered(node)]
        taken = sum(
            out.count for out in self._out.values() if any(map(out.offered, places))
        )  # of whatever class and night
        return max(0, sum(map(need.offered, places)) - -(-taken // need.count))

    def _nodes(self) -> list[_Node]:
        """Those that are up: asked once after each question for jobs."""
        if self._up is None:
            found = _ask("/api/v0/nodes?limit=10000", _Nodes).data.result.result
            self._up = [node for node in found if node.state == "ALIVE"]
        return self._up

    def submit(self, node_class: str, jobs: Sequence[SentJob]) -> list[str]:
        """One by one; one that Ray has already, by the path of its file, keeps its handle."""
        chosen = self._lab.classes[node_class]
        return [self._had.get(str(sent.path)) or self._send(chosen, sent) for sent in jobs]

    def _send(self, chosen: NodeClass, sent: SentJob) -> str:
        need = _Need.of(chosen, sent.job.devices)
        gpus = need.count if need.counted == _GPU else 0
        asked = {
            "submission_id": f"{sent.job.name}-{uuid.uuid4().hex[:12]}",
            "entrypoint": _entrypoint(chosen, sent.path),
            "metadata": {_NEED: msgspec.json.encode(need).decode(), _FILE: str(sent.path)},
            "entrypoint_num_gpus": gpus,
        }
        if need.resource != _GPU:
            asked["entrypoint_resources"] = {need.resource: _SHARE if gpus else need.count}
        if self._refused:
            nodes = ", ".join(sorted(self._refused))
            asked["entrypoint_label_selector"] = {"ray.io/node-id": f"!in({nodes})"}
        handle = _ask("/api/jobs/", dict[str, str], asked)["submission_id"]
        self._out[handle] = need
        return handle

    def active(self, handles: Collection[str]) -> Mapping[str, str]:
        """Of all jobs that the cluster knows; it keeps those that ended, too."""
        found = {job.submission_id or "": job for job in _ask("/api/jobs/", list[_Job])}
        needs = {handle: job.need() for handle, job in found.items()}
        self._up = None
        self._out = {handle: need for handle, need in needs.items() if need is not None}
        files = {handle: (found[handle].metadata or {}).get(_FILE, "") for handle in self._out}
        self._had = {file: handle for handle, file in files.items()}
        self._unplaced = {h for h, job in found.items() if job.error_type == _NEVER_BEGAN}
        return {h: _STATES[found[h].status] for h in handles if h in self._out}

    def unplaced(self, handle: str) -> bool:
        """Where others had all devices for longer than Ray lets a job wait."""
        return handle in self._unplaced

    def cancel(self, handles: Collection[str]) -> None:
        """Those that wait are ended when they begin: Ray has no other way."""
        for handle in handles:
            _ask(f"/api/jobs/{handle}/stop", dict[str, bool], {})
        end = time.monotonic() + _STOP_S
        while RUNNING in self.active(handles).values() and time.monotonic() < end:
            time.sleep(0.1)

    def avoid(self, handle: str, outcome: Outcome) -> None:  # noqa: ARG002 - Ray knows its node
        """No later job goes to that node."""
        node = _ask(f"/api/jobs/{handle}", _Job).driver_node_id
        self._refused |= {node} if node else set()


def _entrypoint(chosen: NodeClass, job: Path) -> str:
    """What the node's shell runs, its words in the job's log as with other engines.

    Without what Ray sets by itself: one thread for a command that asks for no CPUs.
    """
    variables = [f"{name}={value}" for name, value in chosen.environment.items()]
    words = ["env", "-u", "OMP_NUM_THREADS", *variables, *command_of(chosen, job)]
    log = shlex.quote(str(job.with_suffix(".log")))
    return f"exec {shlex.join(words)} </dev/null >>{log} 2>&1"


def _dashboard() -> str:
    """Where Ray's own commands look for it. Raises `InputError` for what is no URL."""
    given = os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS") or _DASHBOARD
    if not given.startswith(("http://", "https://")):
        raise InputError(
            f"RAY_ADDRESS is {given!r}; give the URL of the cluster's dashboard, such as "
            "http://HEAD:8265"
        )
    return given.rstrip("/")


def _ask(path: str, kind: type[_T], content: object = None) -> _T:
    """What the cluster answers; ``content`` is posted to it. Raises `InputError` in its words."""
    url = _dashboard() + path
    headers = {"Content-Type": "application/json"}
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    data = None if content is None else msgspec.json.encode(content)
    request = urllib.request.Request(url, data, headers)  # noqa: S310 - http or https, see above
    try:
        with urllib.request.urlopen(request, timeout=_ASK_S) as reply:  # noqa: S310
            return msgspec.json.decode(reply.read(), type=kind)
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace").strip().splitlines() or [str(error)]
        raise InputError(f"Ray at {url}: {shortened(said[-1], _SAID)}") from error
    except (OSError, ValueError) as error:  # not JSON, or not of Ray
        why = shortened(str(getattr(error, "reason", error)), _SAID)
        raise InputError(
            f"Ray at {url} does not answer as Ray does ({why}); start its dashboard, and give its "
            "URL in RAY_ADDRESS"
        ) from error
