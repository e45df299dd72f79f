"""What is Slurm's own, on a real cluster of two classes of fake devices on this host."""

import re
import subprocess
from pathlib import Path

import pytest
from lab_nights import COMMAND, NightOf, dying, on_engines, once_each, real_lab
from lab_stubs import StubLab
from made_records import make_record

from alignmeter.errors import InputError
from alignmeter.lab.engines import open_engine, slurm
from alignmeter.lab.status import status_of
from alignmeter.records.folder import load_folders

NV = 'accelerator = "cuda"\nconstraint = "b200"'
on_slurm = on_engines("slurm")


@on_slurm
@pytest.mark.full
def test_no_more_tasks_of_an_array_run_at_once_than_its_class_allows(engine, on_cluster, cells):
    on_cluster.says(seconds=2.0)
    one = NightOf(engine, on_cluster, cells, nv=f"{NV}\nthrottle = 1\nchunk = 2")
    one.driver().drive(wait=False)
    handles = [job.sent.handle for job in one.night.jobs()]
    (found,) = status_of(one.night, one.night.plans(), open_engine(engine, one.lab).active(handles))
    assert len(found.jobs) == 3
    assert sum(job.state == "running" for job in found.jobs) <= 1


@on_slurm
@pytest.mark.full
def test_a_process_that_is_killed_before_it_submits_leaves_jobs_that_are_submitted(
    engine, on_cluster, cells, monkeypatch
):
    one = NightOf(engine, on_cluster, cells)
    waiting = one.driver()
    with monkeypatch.context() as patch:
        patch.setattr(slurm, "_script", dying(slurm._script, 0))
        with pytest.raises(KeyboardInterrupt):
            waiting.drive()
    assert [job.sent for job in one.night.jobs()] == [None] * 3
    assert one.driver().drive().complete
    assert once_each(on_cluster, 12)


@on_slurm
@pytest.mark.full
@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('constraint = "h100"', "no node has the feature 'h100' .*; known: b200, mi300x"),
        ('gres = "gpu:h100"', "gres is 'gpu:h100'; known: gpu, gpu:b200, gpu:mi300x"),
        ('partition = "night"', "partition is 'night'; known: lab"),
    ],
)
def test_a_class_that_does_not_exist_is_refused_with_those_that_do(engine, on_cluster, table, said):
    lab = on_cluster.lab(gpu=f'accelerator = "cuda"\n{table}')
    with pytest.raises(InputError, match=rf"\[class.gpu\]: {said}"):
        open_engine(engine, lab).check()


@on_slurm
@pytest.mark.full
def test_what_sbatch_refuses_is_said_in_its_words(engine, on_cluster, cells):
    one = NightOf(engine, on_cluster, cells, nv=f'{NV}\nsbatch = ["--nodelist=other"]')
    with pytest.raises(InputError, match=r"sbatch: .*[Ii]nvalid node name"):
        one.driver().drive()


@on_slurm
@pytest.mark.full
def test_cells_of_several_devices_have_a_process_on_each_node_of_their_class(
    engine, on_cluster, cells
):
    several = [make_record(method=cell.method, world_size=2, parallel="ddp").cell for cell in cells]
    table = 'accelerator = "cuda"\nchunk = 3\nnodes = 2'
    one = NightOf(engine, on_cluster, [*several, *cells], all=table)
    assert one.driver().drive().complete
    assert once_each(on_cluster, 12)
    jobs = {job.job.name for job in one.night.jobs() if job.job.devices == 2}
    served = on_cluster.served()
    assert sorted(job for job, _, _ in served) == sorted(jobs)
    assert {machines for _, machines, _ in served} == {"2"}
    assert len({port for *_, port in served}) == len(jobs)


TWO_RANKS = 'world_size = 2\nparallel = "fsdp2"'


@on_slurm
@pytest.mark.exhaustive
@pytest.mark.timeout(600)
def test_one_cell_is_measured_on_two_nodes(engine, tmp_path, place):
    table = 'accelerator = "cpu"\nnodes = 2\nenvironment = { MASTER_ADDR = "127.0.0.1" }'
    night = real_lab(tmp_path, {"all": table}, TWO_RANKS)
    run = [*COMMAND, "run", "LAB.toml", "--engine", engine, "--night", "n1"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    records = load_folders([night.records("all")]).records
    assert [(r.status, len(r.ranks), r.replicate) for r in records] == [
        ("ok", 2, replicate) for _ in ("dpo", "sft") for replicate in (0, 1)
    ]
    assert place.busy() == []


def test_without_slurm_the_engine_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    lab = StubLab(tmp_path, make_record()).lab(gpu=NV)
    with pytest.raises(
        InputError, match=r"sinfo cannot be started .* needs the commands of a Slurm"
    ):
        open_engine("slurm", lab).check()


SLURM = {
    "sinfo": "echo 'n1|gpu|nv|gpu:nv:1(S:0)'",
    "squeue": "",
    "sbatch": 'printf "%s\\n" "$@" > {folder}/asked; echo 7',
}
"""Commands that answer as those of Slurm do."""


def test_the_log_of_each_task_is_found_beside_its_job(tmp_path, monkeypatch, cells):
    """Slurm names logs by the array; a folder's percent sign is no pattern of its."""
    folder = tmp_path / "a 100 % lab"
    folder.mkdir()
    for name, text in SLURM.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text.format(folder=tmp_path)}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    one = NightOf(
        "slurm", StubLab(folder, make_record()), cells, nv='accelerator = "cuda"\nchunk = 3'
    )
    one.driver().drive(wait=False)
    first, second = one.night.jobs()
    (output,) = re.findall("--output=(.*)", (tmp_path / "asked").read_text())
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    monkeypatch.setenv("SLURMD_NODENAME", "n1")
    subprocess.run(["/bin/bash", str(first.path.with_suffix(".sh"))], check=True)
    assert len(one.night.recorded("nv")) == 3
    named = Path(output.replace("%%", "%").replace("%a", "1"))
    assert second.path.with_suffix(".log").readlink() == Path(named.name)
    assert named.parent == second.path.parent


def test_a_slurm_that_does_not_answer_is_told_with_its_words(tmp_path, monkeypatch):
    sinfo = tmp_path / "sinfo"
    sinfo.write_text("#!/bin/sh\necho 'sinfo: error: no controller' >&2\nexit 1\n")
    sinfo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    lab = StubLab(tmp_path, make_record()).lab(gpu=NV)
    with pytest.raises(InputError, match=r"^sinfo: no controller; submit from a host on which it"):
        open_engine("slurm", lab).check()


def test_slurm_chooses_devices_itself(tmp_path):
    lab = StubLab(tmp_path, make_record()).lab(gpu=NV)
    with pytest.raises(InputError, match="--devices is for the local engine"):
        open_engine("slurm", lab, (0,))
