"""A Ray cluster on this host of two types of nodes, each with one GPU that is not there.

``nv0`` has Ray's resource of an H100 and device 0, ``amd0`` that of an MI300X and device 1. A
process of its own has the cluster: Ray's libraries stay out of the tests'.
"""

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil

CLASSES = {
    "nv": 'accelerator = "cuda"\nray = "accelerator_type:H100"',
    "amd": 'accelerator = "rocm"\nray = "accelerator_type:MI300X"',
}
NODES = {"nv0": ("accelerator_type:H100", "0"), "amd0": ("accelerator_type:MI300X", "1")}
WAITS_S = 60.0
"""Ray's own limit is 900 s; on a busy machine a job takes 10 s and more to start."""
_HEALTH = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 10,
}
"""A node that does not answer for 5 s is lost; by default it takes Ray 15 s and more."""


def missing():
    """Why no cluster can be started here; ``None`` if one can."""
    absent = [name for name in ("ray", "aiohttp") if importlib.util.find_spec(name) is None]
    return f"no {', '.join(absent)}: pip install 'ray[default]'" if absent else None


class Cluster:
    """Starts it; `stop` ends its processes and what they started.

    Its files lie in a folder of their own: sockets are among them, whose paths have to be short.
    """

    def __init__(self, _folder=None):
        self._folder = Path(tempfile.mkdtemp(prefix="ray-"))
        # Ray imports amdsmi, whose wheel raises a KeyError where ROCm is not installed.
        (self._folder / "amdsmi.py").write_text("raise ImportError\n")
        path = [str(self._folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        with (self._folder / "cluster.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(self._folder)],
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(path),
                    "RAY_USAGE_STATS_ENABLED": "0",
                    "RAY_JOB_START_TIMEOUT_SECONDS": str(WAITS_S),
                },
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        self.url = self._said()
        self.environment = {"RAY_ADDRESS": self.url}

    def _said(self):
        line = self._process.stdout.readline().strip()
        if not line:
            text = (self._folder / "cluster.log").read_text(errors="replace")
            self.stop()
            raise RuntimeError(f"the cluster does not come up:\n{text[-3000:]}")
        return line

    def _tell(self, *words):
        self._process.stdin.write(" ".join(words) + "\n")
        self._process.stdin.flush()
        return self._said()

    def kill_node(self, name):
        """All its processes, as if its host went down."""
        self._tell("kill", name)

    def start_node(self, name):
        self._tell("start", name)

    def ask(self, path, content=None):
        """Of the cluster's dashboard."""
        data = None if content is None else json.dumps(content).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers)  # noqa: S310 - our own
        with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310
            return json.load(reply)

    def busy(self):
        """Ids of jobs that have not ended."""
        jobs = self.ask("/api/jobs/")
        return [j["submission_id"] for j in jobs if j["status"] in ("PENDING", "RUNNING")]

    def clear(self):
        """End what is left on it."""
        for handle in self.busy():
            self.ask(f"/api/jobs/{handle}/stop", {})
        while self.busy():
            time.sleep(0.1)

    def stop(self):
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()
        # A node that did not come up within Ray's 30 s leaves its agents behind.
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if str(self._folder) in process.environ().get("PYTHONPATH", ""):
                    process.kill()
                    process.wait(timeout=10)
        shutil.rmtree(self._folder, ignore_errors=True)


def _serve(folder):
    """In the process of its own: a line of standard input is an order, its end the cluster's."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Ray prints is no answer
    from ray.cluster_utils import Cluster as Simulated

    simulated = Simulated(
        initialize_head=True,
        head_node_args={
            "num_cpus": 1, "include_dashboard": True, "dashboard_port": 0, "temp_dir": folder,
            "_system_config": _HEALTH,
        },
    )  # fmt: skip
    nodes = {}

    def start(name):
        resource, device = NODES[name]
        variables = {"ALIGNMETER_NODE": name, "CUDA_VISIBLE_DEVICES": device}
        nodes[name] = simulated.add_node(
            num_cpus=1, num_gpus=1, resources={resource: 1}, env_vars=variables
        )

    for name in NODES:
        start(name)
    print(f"http://{simulated.webui_url}", file=answers, flush=True)
    for line in sys.stdin:
        order, name = line.split()
        if order == "start":
            start(name)
        else:
            simulated.remove_node(nodes.pop(name), allow_graceful=False)
        print("done", file=answers, flush=True)
    simulated.shutdown()


if __name__ == "__main__":
    _serve(sys.argv[1])
