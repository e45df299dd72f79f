"""Nights of a stub command on a real Slurm cluster of two classes of fake devices on this host."""

import os
import subprocess
import sys
import time

import pytest
import slurm_cluster
from lab_stubs import StubLab
from made_records import make_record

from alignmeter.errors import InputError
from alignmeter.lab.drive import Driver, Limits
from alignmeter.lab.engines import open_engine, slurm
from alignmeter.lab.status import status_of

NV = 'accelerator = "cuda"\nconstraint = "b200"\ngres = "gpu:b200"\nchunk = 2'
AMD = 'accelerator = "rocm"\nconstraint = "mi300x"\nthrottle = 1\nchunk = 2'
WHY = slurm_cluster.missing()
needs_slurm = pytest.mark.skipif(WHY is not None, reason=str(WHY))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    started = slurm_cluster.Cluster(tmp_path_factory.mktemp("slurm"))
    yield started
    started.stop()


@pytest.fixture
def stub(tmp_path, cluster, monkeypatch):
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    return StubLab(tmp_path, make_record())


@pytest.fixture(scope="module")
def cells():
    return [make_record(method=method).cell for method in ("dpo", "orpo", "sft")]


def driver(lab, night, plan, said=None, **limits):
    engine = open_engine("slurm", lab)
    engine.check()
    return Driver(night, lab, plan, engine, Limits(**limits), (said or []).append)


def two_classes(stub, cells, text="replicates = 2", nv=NV, amd=AMD):
    lab = stub.lab(text, nv=nv, amd=amd)
    return lab, *stub.night(lab, cells, engine="slurm")


def dying(function, times):
    """It, as often; then its process ends."""
    left = iter([True] * times)

    def call(*arguments):
        if not next(left, False):
            raise KeyboardInterrupt
        return function(*arguments)

    return call


@needs_slurm
@pytest.mark.full
def test_each_class_runs_on_its_own_nodes_and_each_replicate_once(stub, cells):
    lab, night, plan = two_classes(stub, cells)
    assert driver(lab, night, plan).drive().complete
    hosts = {job.job.node_class: job.outcome.host for job in night.jobs()}
    assert hosts == {"nv": "nv0", "amd": "amd0"}
    assert len(stub.measured()) == len(set(stub.measured())) == 12
    driver(lab, night, plan).drive()
    assert len(stub.measured()) == 12


@needs_slurm
@pytest.mark.full
def test_what_submitted_is_gone_and_a_second_run_takes_its_jobs_up(stub, cells):
    stub.says(seconds=2.0)
    lab, night, plan = two_classes(stub, cells)
    driver(lab, night, plan).drive(wait=False)  # nothing of it is left
    handles = [job.sent.handle for job in night.jobs()]
    assert set(open_engine("slurm", lab).active(handles)) == set(handles)
    (nv, amd) = status_of(night, night.plans(), open_engine("slurm", lab).active(handles))
    assert len(nv.jobs) == len(amd.jobs) == 3
    assert sum(job.state == "running" for job in amd.jobs) <= 1  # throttled
    assert driver(lab, night, plan).drive().complete
    assert len(list(night.jobs())) == 6  # none was submitted again
    assert len(stub.measured()) == len(set(stub.measured())) == 12


@needs_slurm
@pytest.mark.full
@pytest.mark.parametrize("noted", [0, 1])
def test_a_process_that_is_killed_as_it_submits_leaves_no_job_to_be_measured_twice(
    noted, stub, cells, monkeypatch
):
    """``noted``: jobs of the first array whose handles were written before."""
    stub.says(seconds=0.5)
    lab, night, plan = two_classes(stub, cells)
    with monkeypatch.context() as patch:
        patch.setattr(night, "note_sent", dying(night.note_sent, noted))
        with pytest.raises(KeyboardInterrupt):
            driver(lab, night, plan).drive()
    assert driver(lab, night, plan).drive().complete
    assert len(list(night.jobs())) == 6
    assert len(stub.measured()) == len(set(stub.measured())) == 12


@needs_slurm
@pytest.mark.full
def test_a_process_that_is_killed_before_it_submits_leaves_jobs_that_are_submitted(
    stub, cells, monkeypatch
):
    lab, night, plan = two_classes(stub, cells)
    waiting = driver(lab, night, plan)
    with monkeypatch.context() as patch:
        patch.setattr(slurm, "_script", dying(slurm._script, 0))
        with pytest.raises(KeyboardInterrupt):
            waiting.drive()
    assert [job.sent for job in night.jobs()] == [None] * 3
    assert driver(lab, night, plan).drive().complete
    assert len(stub.measured()) == len(set(stub.measured())) == 12


@needs_slurm
@pytest.mark.full
def test_cancelled_jobs_leave_the_queue_and_their_cells_are_measured_later(stub, cells, cluster):
    stub.says(seconds=1.0)
    lab, night, plan = two_classes(stub, cells)
    waiting = driver(lab, night, plan)
    waiting.drive(wait=False)
    night.cancel()
    ending = waiting.drive()
    assert ending.why == "cancelled"
    assert sum(map(len, ending.not_reached.values())) > 0
    end = time.monotonic() + 20
    while cluster.ask("squeue", "-h") and time.monotonic() < end:
        time.sleep(0.2)
    assert cluster.ask("squeue", "-h") == ""
    night.forget_cancel()
    stub.says()
    assert driver(lab, night, plan).drive().complete
    assert [len(night.recorded(name)) for name in ("nv", "amd")] == [6, 6]


@needs_slurm
@pytest.mark.full
def test_a_node_that_is_refused_gets_no_further_job(stub, cells):
    lab, night, plan = two_classes(
        stub, cells, amd=f'{AMD}\nenvironment = {{CUDA_VISIBLE_DEVICES = "bad"}}'
    )
    stub.says(refusing=["bad"])
    ending = driver(lab, night, plan).drive()
    assert [len(keys) for keys in ending.not_reached.values()] == [0, 6]
    assert {text.partition(":")[0] for text in ending.refusals} == {"amd0 (amd)"}


@needs_slurm
@pytest.mark.exhaustive
def test_a_slurmd_that_is_killed_loses_nothing(stub, cells, cluster):
    stub.says(seconds=1.5)
    lab, night, plan = two_classes(stub, cells)
    waiting = driver(lab, night, plan)
    waiting.drive(wait=False)
    while not night.recorded("nv"):
        time.sleep(0.1)
    cluster.kill_node("nv0")
    for job in night.jobs():
        if job.job.node_class == "nv" and job.outcome and job.outcome.ended is None:
            os.kill(job.outcome.pid, 9)  # the node is down, its processes with it
    while "down" not in cluster.ask("sinfo", "-h", "-n", "nv0", "-o", "%T"):
        time.sleep(0.5)
    cluster.start_node("nv0")
    assert waiting.drive().complete
    assert [len(night.recorded(name)) for name in ("nv", "amd")] == [6, 6]


@needs_slurm
@pytest.mark.full
@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('constraint = "h100"', "no node has the feature 'h100' .*; known: b200, mi300x"),
        ('gres = "gpu:h100"', "gres is 'gpu:h100'; known: gpu, gpu:b200, gpu:mi300x"),
        ('partition = "night"', "partition is 'night'; known: lab"),
    ],
)
def test_a_class_that_does_not_exist_is_refused_with_those_that_do(stub, table, said):
    lab = stub.lab(gpu=f'accelerator = "cuda"\n{table}')
    with pytest.raises(InputError, match=rf"\[class.gpu\]: {said}"):
        open_engine("slurm", lab).check()


@needs_slurm
@pytest.mark.full
def test_what_sbatch_refuses_is_said_in_its_words(stub, cells):
    lab, night, plan = two_classes(stub, cells, amd=f'{AMD}\nsbatch = ["--nodelist=other"]')
    with pytest.raises(InputError, match=r"sbatch: .*[Ii]nvalid node name"):
        driver(lab, night, plan).drive()


@needs_slurm
@pytest.mark.full
def test_the_command_from_another_shell_tells_of_the_jobs(stub, cells):
    stub.says(seconds=2.0)
    lab, night, plan = two_classes(stub, cells)
    driver(lab, night, plan).drive(wait=False)
    command = [sys.executable, "-P", "-m", "alignmeter", "lab"]
    done = subprocess.run([*command, "status", lab.where, "--night", "n1"], capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert done.stdout.count(" of 2 recorded") == 6
    done = subprocess.run([*command, "cancel", lab.where, "--night", "n1"], capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert done.stdout.endswith(" told to end\n")


def test_without_slurm_the_engine_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    lab = StubLab(tmp_path, make_record()).lab(gpu=NV)
    with pytest.raises(
        InputError, match=r"sinfo cannot be started .* needs the commands of a Slurm"
    ):
        open_engine("slurm", lab).check()


def test_slurm_chooses_devices_itself(tmp_path):
    lab = StubLab(tmp_path, make_record()).lab(gpu=NV)
    with pytest.raises(InputError, match="--devices is for the local engine"):
        open_engine("slurm", lab, (0,))
