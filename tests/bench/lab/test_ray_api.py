"""The Ray engine on a dashboard of the test's own, which answers as Ray's does: no cluster."""

import json
import subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from lab_stubs import StubLab
from made_records import make_record

from alignmeter.errors import InputError
from alignmeter.lab.drive import Driver, Limits
from alignmeter.lab.engines import open_engine

H100 = {"CPU": 8.0, "GPU": 2.0, "accelerator_type:H100": 1.0, "node:10.0.0.1": 1.0}
GPU = 'accelerator = "cuda"\nray = "accelerator_type:H100"\nchunk = 1'


class Dashboard:
    """``nodes``: resources of each. A job that is posted runs at once; the first ``waiting`` ones
    wait until Ray gives them up.
    """

    def __init__(self, nodes, waiting=0):
        self.nodes, self.waiting = nodes, waiting
        self.jobs, self.posted, self.headers = {}, [], []
        dashboard = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                dashboard.headers.append(dict(self.headers))
                self._reply(dashboard.read(self.path))

            def do_POST(self):
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._reply(dashboard.post(content))

            def _reply(self, content):
                self.send_response(500 if content is None else 200)
                self.end_headers()
                self.wfile.write(json.dumps(content).encode() if content else b"Trace\nno agent\n")

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}).start()

    def read(self, path):
        if path.startswith("/api/v0/nodes"):
            rows = [
                {"node_id": f"n{i}", "state": "ALIVE" if resources else "DEAD",
                 "resources_total": resources or H100} for i, resources in enumerate(self.nodes)
            ]  # fmt: skip
            return {"result": True, "data": {"result": {"total": len(rows), "result": rows}}}
        if path == "/api/jobs/":
            driver = {"type": "DRIVER", "submission_id": None, "status": "RUNNING"}
            return [driver, *self.jobs.values()]
        return self.jobs[path.rpartition("/")[2]]

    def post(self, content):
        if not self.nodes:
            return None
        self.posted.append(content)
        job = {"submission_id": content["submission_id"], "metadata": content["metadata"],
               "status": "SUCCEEDED", "driver_node_id": "n0"}  # fmt: skip
        if len(self.posted) <= self.waiting:
            job |= {"status": "FAILED", "error_type": "JOB_SUPERVISOR_ACTOR_START_TIMEOUT"}
        elif subprocess.run(["/bin/sh", "-c", content["entrypoint"]], check=False).returncode:
            job |= {"status": "FAILED", "error_type": "JOB_ENTRYPOINT_COMMAND_ERROR"}
        self.jobs[content["submission_id"]] = job
        return {"job_id": content["submission_id"], "submission_id": content["submission_id"]}

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def serve(monkeypatch):
    started = []

    def serving(*nodes, **how):
        started.append(Dashboard(nodes, **how))
        monkeypatch.setenv("RAY_ADDRESS", started[-1].url)
        return started[-1]

    yield serving
    for dashboard in started:
        dashboard.stop()


@pytest.fixture
def stub(tmp_path):
    return StubLab(tmp_path, make_record())


def drive(stub, lab, cells):
    night, plan = stub.night(lab, cells, engine="ray")
    engine = open_engine("ray", lab)
    engine.poll_s = 0.0
    engine.check()
    return night, Driver(night, lab, plan, engine, Limits(), print).drive()


def test_a_job_says_what_its_node_has_to_have_and_what_its_command_finds(stub, serve, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as Ray does
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    ray = serve(H100, None)
    environment = 'environment = { CUDA_VISIBLE_DEVICES = "7" }'
    lab = stub.lab("replicates = 1", gpu=f"{GPU}\n{environment}")
    pair = make_record(method="dpo", world_size=2).cell
    night, ending = drive(stub, lab, [pair])
    assert ending.complete
    (asked,) = ray.posted
    assert asked["entrypoint_num_gpus"] == 2
    assert asked["entrypoint_resources"] == {"accelerator_type:H100": 0.001}
    assert asked["entrypoint"].startswith("exec env -u OMP_NUM_THREADS CUDA_VISIBLE_DEVICES=7 ")
    assert [device for *_, device in stub.measured()] == ["7"]
    (job,) = night.jobs()
    assert job.path.with_suffix(".log").exists()
    assert ray.headers[0]["Authorization"] == "Bearer secret"


def test_a_job_that_never_got_a_node_is_no_fault_of_its_cell(stub, serve):
    ray = serve(H100, waiting=4)
    lab = stub.lab("replicates = 1", gpu=GPU)
    _, ending = drive(stub, lab, [make_record().cell])
    assert ending.complete
    assert len(ray.posted) == 5


def test_a_command_that_does_not_start_is_given_up(stub, serve):
    serve(H100)
    lab = stub.lab("replicates = 1", gpu=GPU)
    stub.command.unlink()
    night, ending = drive(stub, lab, [make_record().cell])
    (why,) = ending.failed.values()
    assert "3 jobs ended before its record was there" in why
    assert "No such file" in next(night.jobs()).path.with_suffix(".log").read_text()


def test_a_node_that_refused_a_job_gets_no_further_one(stub, serve):
    ray = serve(H100, H100)
    lab = stub.lab("replicates = 1", gpu=f'{GPU}\nenvironment = {{CUDA_VISIBLE_DEVICES = "0"}}')
    assert [open_engine("ray", lab).room("gpu", devices) for devices in (1, 2, 3)] == [4, 2, 0]
    stub.says(refusing=["here0"])
    night, plan = stub.night(lab, [make_record().cell], engine="ray")
    engine = open_engine("ray", lab)
    waiting = Driver(night, lab, plan, engine, Limits(), print)
    waiting.drive(wait=False)
    stub.says()
    assert waiting.drive().complete
    assert ray.posted[1]["entrypoint_label_selector"] == {"ray.io/node-id": "!in(n0)"}
    assert engine.room("gpu", 1) == 2


def test_cells_of_a_processor_run_alone_on_a_node(stub, serve):
    ray = serve({"CPU": 64.0, "host": 1.0}, {"CPU": 64.0, "host": 1.0})
    lab = stub.lab("replicates = 1", here='accelerator = "cpu"\nray = "host"\nchunk = 1')
    assert open_engine("ray", lab).room("here", 2) == 2
    _, ending = drive(stub, lab, [make_record().cell])
    assert ending.complete
    assert ray.posted[0]["entrypoint_resources"] == {"host": 1}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            'accelerator = "cuda"\nray = "b200"',
            r"\[class.a\]: ray is 'b200'; known: accelerator_type:H100, host$",
        ),
        ('accelerator = "cpu"', r"\[class.a\]: ray is missing; name a resource, e.g. \"host\""),
        ('accelerator = "cuda"\nray = "host"', r"no node with 'host' has a GPU; start its nodes"),
        ('accelerator = "cuda"\nray = "GPU"', r"ray is 'GPU'; known: accelerator_type:H100, host$"),
    ],
)
def test_a_class_that_does_not_exist_is_refused_with_those_that_do(stub, serve, table, said):
    serve(H100, {"CPU": 8.0, "host": 1.0})
    with pytest.raises(InputError, match=said):
        open_engine("ray", stub.lab(a=table)).check()


def test_what_ray_refuses_is_said_in_its_words(stub, serve):
    serve()
    lab = stub.lab(gpu=GPU)
    with pytest.raises(InputError, match=r"Ray at http://.*/api/jobs/x/stop: no agent$"):
        open_engine("ray", lab).cancel(["x"])


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (
            "http://127.0.0.1:1",
            r"Ray at http://127.0.0.1:1/api/v0/nodes.* does not answer as Ray does \(.*efus",
        ),
        ("10.0.0.1:6379", "RAY_ADDRESS is '10.0.0.1:6379'; give the URL of the cluster's dashbo"),
    ],
)
def test_without_a_cluster_the_engine_says_what_it_needs(stub, monkeypatch, address, said):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match=said):
        open_engine("ray", stub.lab(gpu=GPU)).check()


def test_ray_chooses_devices_itself(stub):
    with pytest.raises(InputError, match="--devices is for the local engine"):
        open_engine("ray", stub.lab(gpu=GPU), (0,))


def test_a_job_whose_submitter_was_killed_before_it_noted_the_handle_is_not_taken_twice(
    stub, serve
):
    dashboard = serve(H100)
    lab = stub.lab("replicates = 1", gpu=GPU)
    night, plan = stub.night(lab, [make_record().cell], engine="ray")
    for _ in range(2):
        engine = open_engine("ray", lab)
        engine.check()
        Driver(night, lab, plan, engine, Limits(), print).drive(wait=False)
        (job,) = night.jobs()
        job.path.with_suffix(".sent").unlink()
        for path in night.records("gpu").glob("*.json"):  # it is still to measure
            path.unlink()
        dashboard.jobs[job.sent.handle]["status"] = "RUNNING"
    assert len(dashboard.posted) == 1
