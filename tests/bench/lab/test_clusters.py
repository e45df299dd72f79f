"""The same nights on a real cluster of each engine: two nodes on this host, one of each class."""

import subprocess
import time

import psutil
import pytest
from lab_nights import COMMAND, PLACES, NightOf, dying, on_engines, once_each, real_lab

from alignmeter.lab.engines import open_engine
from alignmeter.lab.status import status_of
from alignmeter.records.folder import load_folders

pytestmark = on_engines()


@pytest.mark.full
def test_each_class_runs_on_its_own_nodes_and_each_replicate_once(engine, on_cluster, cells):
    one = NightOf(engine, on_cluster, cells)
    assert one.driver().drive().complete
    hosts = {(job.job.node_class, job.outcome.host) for job in one.night.jobs() if job.outcome}
    assert hosts == {("nv", "nv0"), ("amd", "amd0")}
    assert once_each(on_cluster, 12)
    one.driver().drive()
    assert once_each(on_cluster, 12)


@pytest.mark.full
def test_what_submitted_is_gone_and_a_second_run_takes_its_jobs_up(engine, on_cluster, cells):
    on_cluster.says(seconds=3.0)
    one = NightOf(engine, on_cluster, cells[:1])
    one.driver().drive(wait=False)  # nothing of it is left
    handles = [job.sent.handle for job in one.night.jobs()]
    active = open_engine(engine, one.lab).active(handles)
    assert set(active) == set(handles)
    classes = status_of(one.night, one.night.plans(), active)
    assert [len(found.jobs) for found in classes] == [1, 1]
    assert one.driver().drive().complete
    assert len(list(one.night.jobs())) == 2  # none was submitted again
    assert once_each(on_cluster, 4)


@pytest.mark.full
@pytest.mark.parametrize("noted", [0, 1])
def test_a_process_that_is_killed_as_it_submits_leaves_no_job_to_be_measured_twice(
    noted, engine, on_cluster, cells, monkeypatch
):
    """``noted``: jobs whose handles were written before."""
    on_cluster.says(seconds=0.5)
    one = NightOf(engine, on_cluster, cells)
    with monkeypatch.context() as patch:
        patch.setattr(one.night, "note_sent", dying(one.night.note_sent, noted))
        with pytest.raises(KeyboardInterrupt):
            one.driver().drive()
    assert one.driver().drive().complete
    assert len(list(one.night.jobs())) == 6
    assert once_each(on_cluster, 12)


@pytest.mark.full
def test_cancelled_jobs_end_and_their_cells_are_measured_later(engine, on_cluster, cells, place):
    on_cluster.says(seconds=1.0)
    one = NightOf(engine, on_cluster, cells)
    waiting = one.driver()
    waiting.drive(wait=False)
    one.night.cancel()
    ending = waiting.drive()
    assert ending.why == "cancelled"
    assert sum(map(len, ending.not_reached.values())) > 0
    end = time.monotonic() + 30
    while place.busy() and time.monotonic() < end:
        time.sleep(0.2)
    assert place.busy() == []
    one.night.forget_cancel()
    on_cluster.says()
    assert one.driver().drive().complete
    assert one.recorded() == {"nv": 6, "amd": 6}


@pytest.mark.full
def test_the_cells_of_a_node_that_is_refused_go_to_others(engine, on_cluster, cells):
    on_cluster.says(refusing=["amd0"], seconds=1.0)
    one = NightOf(engine, on_cluster, cells, gpu='accelerator = "cuda"\nchunk = 2')
    ending = one.driver().drive()
    assert ending.complete
    assert ending.refusals == ["amd0 (gpu): idle: 4 GiB of cuda:0 are in use"]
    assert {job.outcome.host for job in one.night.jobs() if not job.outcome.refused} == {"nv0"}


@pytest.mark.full
def test_where_all_nodes_are_refused_the_cells_wait(engine, on_cluster, cells):
    on_cluster.says(refusing=["amd0"])
    one = NightOf(engine, on_cluster, cells)
    ending = one.driver().drive()
    assert [len(keys) for keys in ending.not_reached.values()] == [0, 6]
    assert {text.partition(":")[0] for text in ending.refusals} == {"amd0 (amd)"}


@pytest.mark.exhaustive
def test_a_node_that_is_lost_loses_nothing(engine, on_cluster, cells, place):
    on_cluster.says(seconds=3.0)
    one = NightOf(engine, on_cluster, cells)
    waiting = one.driver()
    waiting.drive(wait=False)
    while not one.night.recorded("nv"):
        time.sleep(0.1)
    place.kill_node("nv0")
    place.start_node("nv0")
    on_cluster.says()
    assert waiting.drive().complete
    assert one.recorded() == {"nv": 6, "amd": 6}
    assert once_each(on_cluster, 12)


@pytest.mark.full
def test_the_command_from_another_shell_tells_of_the_jobs(engine, on_cluster, cells):
    on_cluster.says(seconds=2.0)
    one = NightOf(engine, on_cluster, cells)
    one.driver().drive(wait=False)
    sent = len(list(one.night.jobs()))

    def said(verb):
        command = [*COMMAND, verb, one.lab.where, "--night", "n1"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert said("status").count(" of 2 recorded") == sent
    assert said("cancel") == f"{sent} jobs told to end\n"


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_who_submits_and_a_job_of_real_cells_are_killed_and_a_second_run_finishes(
    engine, tmp_path, place
):
    tables = {k: f"{table}\nchunk = 4" for k, table in PLACES[engine].CLASSES.items()}
    night = real_lab(tmp_path, tables)
    run = [*COMMAND, "run", "LAB.toml", "--engine", engine, "--night", "n1"]
    with subprocess.Popen(run, cwd=tmp_path) as submitting:
        while not any(map(night.recorded, tables)):
            time.sleep(0.1)
        submitting.kill()
    begun = [job.outcome for job in night.jobs() if job.outcome and job.outcome.ended is None]
    left = [process for one in begun for process in psutil.Process(one.pid).children()]
    psutil.Process(begun[0].pid).kill()
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [
        (r.cell.id, r.replicate) for n in tables for r in load_folders([night.records(n)]).records
    ]
    assert len(found) == 8
    assert len(set(found)) == 4
    assert place.busy() == []
    _, alive = psutil.wait_procs(left, timeout=20)
    assert alive == []
