"""One process of alignmeter on each of several machines, here all on this one: one record."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from lab_nights import started, why_not

from alignmeter.accelerators.machines import Machine, ranks_here, this_machine
from alignmeter.errors import InputError
from alignmeter.records.folder import read_record
from alignmeter.session.launcher import Launcher
from alignmeter.session.resolve import resolve_cell

MEETING = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
CELL = ["--method", "dpo", "--peft", "lora", "--world-size", "2", "--parallel", "fsdp2",
        "--steps", "3", "--warmup", "1", "--sample-hz", "0"]  # fmt: skip
SCRIPT = Path(__file__).parents[3] / "examples" / "lab" / "several-nodes.sbatch"
NO_SLURM = why_not("slurm")
ALIGNMETER = [sys.executable, "-P", "-m", "alignmeter"]


def place(monkeypatch, **variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_without_torchrun_a_machine_is_alone(monkeypatch):
    assert this_machine() == Machine()
    place(monkeypatch, RANK="0", WORLD_SIZE="1")
    assert (this_machine(), ranks_here(5)) == (Machine(), 5)


def test_torchrun_s_variables_say_which_machine_it_is(monkeypatch):
    place(monkeypatch, RANK="1", WORLD_SIZE="2", LOCAL_WORLD_SIZE="1", **MEETING)
    assert this_machine() == Machine(number=1, count=2, address="127.0.0.1", port=29500)
    assert [ranks_here(size) for size in (1, 2, 3, 8)] == [1, 1, 2, 4]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"LOCAL_WORLD_SIZE": "2"}, "LOCAL_WORLD_SIZE is 2, .* give torchrun --nproc-per-node 1"),
        ({"MASTER_ADDR": ""}, "RANK is 0, WORLD_SIZE 2 and MASTER_ADDR ''; of M machines"),
        ({"RANK": "2"}, "RANK is 2, WORLD_SIZE 2 and"),
        ({"MASTER_PORT": "http"}, "MASTER_PORT is 'http' beside RANK"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two' beside RANK"),
    ],
    ids=lambda value: value.partition(" ")[0] if isinstance(value, str) else "-".join(value),
)
def test_variables_that_contradict_each_other_are_named(variables, said, monkeypatch):
    place(monkeypatch, **({"RANK": "0", "WORLD_SIZE": "2"} | MEETING | variables))
    with pytest.raises(InputError, match=said):
        this_machine()


def test_what_measures_on_one_machine_says_so(monkeypatch):
    place(monkeypatch, RANK="0", WORLD_SIZE="2", **MEETING)
    with pytest.raises(InputError, match="only `alignmeter run` and `alignmeter cell` take"):
        Launcher()


def test_ranks_that_do_not_divide_among_the_machines_are_unsupported(monkeypatch):
    place(monkeypatch, RANK="0", WORLD_SIZE="3", **MEETING)
    axes = {"method": "dpo", "accelerator": "cpu", "world_size": 2, "parallel": "ddp"}
    reason = resolve_cell(axes).unsupported
    assert reason.text == "2 devices are not as many on each of 3 machines"


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Machines:
    """``alignmeter ARGUMENTS`` on two of them; `close` ends what is left."""

    def __init__(self, *arguments, launch=None):
        port = free_port()
        self.processes = [
            subprocess.Popen(
                launch(number, port, arguments) if launch else [*ALIGNMETER, *arguments],
                env={**os.environ, **({} if launch else {
                    **MEETING, "RANK": str(number), "WORLD_SIZE": "2", "MASTER_PORT": str(port),
                })},
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for number in (0, 1)
        ]  # fmt: skip

    def ended(self):
        """Exit status, output and errors of each."""
        said = [process.communicate(timeout=240) for process in self.processes]
        return [(p.returncode, *texts) for p, texts in zip(self.processes, said, strict=True)]

    def kill_once_it_has_a_worker(self, number):
        """A worker of a machine is a child of its forkserver. Returns what it had started."""
        machine, end = psutil.Process(self.processes[number].pid), time.monotonic() + 120
        while not any(c.children() for c in machine.children()) and time.monotonic() < end:
            time.sleep(0.1)
        left = machine.children(recursive=True)
        assert left
        machine.send_signal(signal.SIGKILL)
        return left

    def close(self):
        for process in self.processes:
            process.kill()
            process.communicate()


@pytest.fixture
def machines():
    opened = []

    def start(*arguments, launch=None):
        opened.append(Machines(*arguments, launch=launch))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def the_record(folder):
    (path,) = Path(folder).glob("*.r0.json")
    return read_record(path)


@pytest.mark.full
def test_two_machines_are_one_replicate(machines, tmp_path):
    """Losses as of one device, one record, and nothing of the second machine's own."""
    (first, second) = machines("cell", *CELL, "--out", str(tmp_path / "two")).ended()
    assert first[0] == 0, first
    assert second == (0, "", "Machine 2 of 2: has ranks for 127.0.0.1.\n")
    record = the_record(tmp_path / "two")
    assert (record.status, len(record.ranks), record.failed_rank) == ("ok", 2, None)
    one = [*CELL[:4], *CELL[8:]]
    subprocess.run([*ALIGNMETER, "cell", *one, "--out", str(tmp_path / "one")], check=True,
                   capture_output=True)  # fmt: skip
    alone = the_record(tmp_path / "one")
    assert record.numerics.losses == pytest.approx(alone.numerics.losses, rel=1e-5)


@pytest.mark.full
def test_a_machine_that_is_gone_costs_its_replicate_and_is_named(machines, tmp_path):
    two = machines("cell", *CELL[:8], "--steps", "2000", "--out", str(tmp_path))
    left = two.kill_once_it_has_a_worker(1)
    (first, _) = two.ended()
    assert first[0] == 3, first
    record = the_record(tmp_path)
    assert (record.status, record.reason.code) == ("crashed", "worker_died")
    assert record.reason.text.startswith("rank 1 of 2: the alignmeter of ")
    assert record.failed_rank == 1
    assert psutil.wait_procs(left, timeout=20)[1] == []


@pytest.mark.full
def test_without_the_first_machine_the_others_end(machines, tmp_path):
    two = machines("cell", *CELL[:8], "--steps", "2000", "--out", str(tmp_path))
    left = two.kill_once_it_has_a_worker(0)
    second = two.processes[1]
    _, said = second.communicate(timeout=60)
    assert second.returncode == 2
    assert said.endswith("Error: the first machine's alignmeter is gone, and this one's workers "
                         "with it\n")  # fmt: skip
    assert psutil.wait_procs(left, timeout=20)[1] == []


def by_torchrun(number, port, arguments):
    return [sys.executable, "-P", "-m", "torch.distributed.run", "--nnodes", "2",
            "--nproc-per-node", "1", "--node-rank", str(number), "--master-addr", "127.0.0.1",
            "--master-port", str(port), "-m", "alignmeter", *arguments]  # fmt: skip


@pytest.mark.exhaustive
def test_torchrun_starts_a_whole_run(machines, tmp_path):
    """Two cells, one of them on the first machine alone, and a report."""
    axes = ["run", "--method", "dpo", "--architecture", "llama", "--peft", "lora", "--batch", "2"]
    sizes = ["--world-size", "1,2", "--parallel", "none,fsdp2", "--steps", "3", "--no-plan"]
    two = machines(*axes, *sizes, "--out", str(tmp_path), launch=by_torchrun)
    (first, second) = two.ended()
    assert (first[0], second[0]) == (0, 0), (first, second)
    records = [read_record(path) for path in tmp_path.glob("*.r0.json")]
    measured = {(r.cell.world_size, r.cell.parallel): len(r.ranks) for r in records if not r.reason}
    assert measured == {(1, "none"): 0, (2, "fsdp2"): 2}
    assert (tmp_path / "report.html").is_file()


@pytest.mark.exhaustive  # beside other clusters of this host a job may wait long for its nodes
@pytest.mark.skipif(NO_SLURM is not None, reason=str(NO_SLURM))
def test_slurm_starts_a_process_on_each_node(tmp_path):
    """The example's own script, on a cluster of two nodes that are this host."""
    (tmp_path / "cluster").mkdir()
    cluster = started("slurm", tmp_path / "cluster")
    environment = {
        **os.environ, **cluster.environment, "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }  # fmt: skip
    try:
        sent = ["sbatch", "--wait", "--gpus-per-node=1", f"--output={tmp_path / 'said'}"]
        arguments = [str(SCRIPT), *CELL, "--out", str(tmp_path / "records")]
        done = subprocess.run([*sent, *arguments], env=environment, capture_output=True, text=True,
                              timeout=240)  # fmt: skip
    finally:
        cluster.stop()
    assert done.returncode == 0, (done.stderr, (tmp_path / "said").read_text())
    assert len(the_record(tmp_path / "records").ranks) == 2
