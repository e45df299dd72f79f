"""Nights of a stub command on a real Ray cluster of two types of nodes on this host."""

import subprocess
import sys
import time

import psutil
import pytest
import ray_cluster
from lab_stubs import StubLab
from made_records import make_record

from alignmeter.errors import InputError
from alignmeter.lab.drive import Driver, Limits
from alignmeter.lab.engines import open_engine
from alignmeter.lab.status import status_of
from alignmeter.lab.submission import Night
from alignmeter.records.folder import load_folders

COMMAND = [sys.executable, "-P", "-m", "alignmeter", "lab"]
NV = 'accelerator = "cuda"\nray = "accelerator_type:H100"\nchunk = 2'
AMD = 'accelerator = "rocm"\nray = "accelerator_type:MI300X"\nchunk = 2'
WHY = ray_cluster.missing()
needs_ray = pytest.mark.skipif(WHY is not None, reason=str(WHY))


@pytest.fixture(scope="module")
def cluster():
    started = ray_cluster.Cluster()
    yield started
    started.stop()


@pytest.fixture
def stub(tmp_path, cluster, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", cluster.url)
    yield StubLab(tmp_path, make_record())
    for handle in cluster.busy():
        cluster.ask(f"/api/jobs/{handle}/stop", {})
    while cluster.busy():
        time.sleep(0.1)


@pytest.fixture(scope="module")
def cells():
    return [make_record(method=method).cell for method in ("dpo", "orpo", "sft")]


def driver(lab, night, plan, said=None, **limits):
    engine = open_engine("ray", lab)
    engine.check()
    return Driver(night, lab, plan, engine, Limits(**limits), (said or []).append)


def two_classes(stub, cells, text="replicates = 2", nv=NV, amd=AMD):
    lab = stub.lab(text, nv=nv, amd=amd)
    return lab, *stub.night(lab, cells, engine="ray")


@needs_ray
@pytest.mark.full
def test_each_class_runs_on_its_own_nodes_and_each_replicate_once(stub, cells):
    lab, night, plan = two_classes(stub, cells)
    assert driver(lab, night, plan).drive().complete
    hosts = {(job.job.node_class, job.outcome.host) for job in night.jobs() if job.outcome}
    assert hosts == {("nv", "nv0"), ("amd", "amd0")}
    assert len(stub.measured()) == len(set(stub.measured())) == 12
    driver(lab, night, plan).drive()
    assert len(stub.measured()) == 12


@needs_ray
@pytest.mark.full
def test_what_submitted_is_gone_and_a_second_run_takes_its_jobs_up(stub, cells):
    stub.says(seconds=3.0)
    lab, night, plan = two_classes(stub, cells[:1])
    driver(lab, night, plan).drive(wait=False)  # nothing of it is left
    handles = [job.sent.handle for job in night.jobs()]
    assert set(open_engine("ray", lab).active(handles)) == set(handles)
    classes = status_of(night, night.plans(), open_engine("ray", lab).active(handles))
    assert [len(one.jobs) for one in classes] == [1, 1]
    assert driver(lab, night, plan).drive().complete
    assert len(list(night.jobs())) == 2  # none was submitted again
    assert len(stub.measured()) == len(set(stub.measured())) == 4


@needs_ray
@pytest.mark.full
def test_cancelled_jobs_end_and_their_cells_are_measured_later(stub, cells, cluster):
    stub.says(seconds=2.0)
    lab, night, plan = two_classes(stub, cells)
    waiting = driver(lab, night, plan)
    waiting.drive(wait=False)
    while not night.recorded("nv"):
        time.sleep(0.1)
    night.cancel()
    ending = waiting.drive()
    assert ending.why == "cancelled"
    assert sum(map(len, ending.not_reached.values())) > 0
    assert cluster.busy() == []
    night.forget_cancel()
    stub.says()
    assert driver(lab, night, plan).drive().complete
    assert [len(night.recorded(name)) for name in ("nv", "amd")] == [6, 6]


@needs_ray
@pytest.mark.full
def test_the_cells_of_a_node_that_is_refused_go_to_others(stub, cells):
    lab = stub.lab("replicates = 2", gpu='accelerator = "cuda"\nchunk = 2')
    night, plan = stub.night(lab, cells, engine="ray")
    stub.says(refusing=["1"], seconds=1.0)
    ending = driver(lab, night, plan).drive()
    assert ending.complete
    assert ending.refusals == ["amd0 (gpu): idle: 4 GiB of cuda:0 are in use"]
    assert {device for *_, device in stub.measured()} == {"0"}


@needs_ray
@pytest.mark.full
def test_where_all_nodes_are_refused_the_cells_wait(stub, cells):
    lab, night, plan = two_classes(stub, cells)
    stub.says(refusing=["1"])
    ending = driver(lab, night, plan).drive()
    assert [len(keys) for keys in ending.not_reached.values()] == [0, 6]


@needs_ray
@pytest.mark.exhaustive
def test_a_node_that_is_lost_loses_nothing(stub, cells, cluster):
    stub.says(seconds=3.0)
    lab, night, plan = two_classes(stub, cells)
    waiting = driver(lab, night, plan)
    waiting.drive(wait=False)
    while not night.recorded("nv"):
        time.sleep(0.1)
    cluster.kill_node("nv0")
    cluster.start_node("nv0")
    stub.says()
    assert waiting.drive().complete
    assert [len(night.recorded(name)) for name in ("nv", "amd")] == [6, 6]
    assert len(stub.measured()) == len(set(stub.measured())) == 12


@needs_ray
@pytest.mark.exhaustive
def test_a_job_waits_for_devices_of_others_as_long_as_they_have_them(stub, cells, cluster):
    cluster.ask("/api/jobs/", {
        "entrypoint": f"sleep {ray_cluster.WAITS_S * 1.2}", "entrypoint_num_gpus": 1,
        "entrypoint_resources": {"accelerator_type:H100": 0.001},
    })  # fmt: skip
    lab = stub.lab("replicates = 1", nv=NV)
    night, plan = stub.night(lab, cells[:1], engine="ray")
    assert driver(lab, night, plan).drive().complete
    assert len(list(night.jobs())) > 1  # Ray gave the first one up


@needs_ray
@pytest.mark.full
@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            'accelerator = "cuda"\nray = "accelerator_type:B200"',
            "ray is 'accelerator_type:B200'; did you mean|known: accelerator_type:H100, ",
        ),
        ('accelerator = "cpu"', 'ray is missing; name a resource, e.g. "host", of which'),
    ],
)
def test_a_class_that_does_not_exist_is_refused_with_those_that_do(stub, table, said):
    lab = stub.lab(gpu=table)
    with pytest.raises(InputError, match=rf"\[class.gpu\]: {said}"):
        open_engine("ray", lab).check()


@needs_ray
@pytest.mark.full
def test_the_command_from_another_shell_tells_of_the_jobs(stub, cells):
    stub.says(seconds=2.0)
    lab, night, plan = two_classes(stub, cells)
    driver(lab, night, plan).drive(wait=False)
    done = subprocess.run([*COMMAND, "status", lab.where, "--night", "n1"], capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert done.stdout.count(" of 2 recorded") == 2
    done = subprocess.run([*COMMAND, "cancel", lab.where, "--night", "n1"], capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert done.stdout == "2 jobs told to end\n"


REAL = """
schema = 1
matrix = "night.toml"
replicates = 2
retries = 0
[class.nv]
accelerator = "cpu"
ray = "accelerator_type:H100"
chunk = 4
[class.amd]
accelerator = "cpu"
ray = "accelerator_type:MI300X"
chunk = 4
"""
NIGHT = """
schema = 1
steps = 3
[defaults]
seq_len = 16
data = "synthetic"
architecture = "llama"
peft = "lora"
[[grid]]
method = ["sft", "dpo"]
"""


@needs_ray
@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_who_submits_and_a_job_of_real_cells_are_killed_and_a_second_run_finishes(
    tmp_path, cluster, monkeypatch
):
    monkeypatch.setenv("RAY_ADDRESS", cluster.url)
    (tmp_path / "LAB.toml").write_text(REAL)
    (tmp_path / "night.toml").write_text(NIGHT)
    night, places = Night(tmp_path / "results" / "n1"), ("nv", "amd")
    run = [*COMMAND, "run", "LAB.toml", "--engine", "ray", "--night", "n1"]
    with subprocess.Popen(run, cwd=tmp_path) as submitting:
        while not any(map(night.recorded, places)):
            time.sleep(0.1)
        submitting.kill()
    begun = [job.outcome for job in night.jobs() if job.outcome and job.outcome.ended is None]
    left = [process for one in begun for process in psutil.Process(one.pid).children()]
    psutil.Process(begun[0].pid).kill()
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [
        (r.cell.id, r.replicate) for n in places for r in load_folders([night.records(n)]).records
    ]
    assert len(found) == 8
    assert len(set(found)) == 4
    assert cluster.busy() == []
    _, alive = psutil.wait_procs(left, timeout=20)
    assert alive == []
