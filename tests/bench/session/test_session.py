"""Replicates end to end in real workers, with faults injected from outside."""

import dataclasses
import os
import resource
import signal
import socket
import threading
from multiprocessing import forkserver
from pathlib import Path

import msgspec
import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from alignmeter.methods import open_method
from alignmeter.records.folder import load_folders
from alignmeter.records.record import Reason, Verdict, decode_record, encode_record
from alignmeter.session import Planned, Replicate, Settings, measure, resolve_plan, run_matrix
from alignmeter.session.launcher import Launcher
from alignmeter.session.run import rounds
from alignmeter.worker.operators import profile_operators

QUICK = Settings(steps=3, warmup=1, seed=0, timeout_s=120)


class SpyLauncher(Launcher):
    """Remembers the last worker, so that a test can do something to it."""

    worker = None

    def start(self):
        self.worker = super().start()
        return self.worker


@pytest.fixture
def spy(launcher):
    spy = SpyLauncher()
    spy.begin_round(0)
    return spy


def planned(make_cell, **axes):
    return Planned(cell=make_cell(**axes), unsupported=None)


@pytest.mark.full
@pytest.mark.parametrize(
    ("method", "architecture", "peft"),
    [
        pytest.param("dpo", "llama", "full", marks=pytest.mark.exhaustive),
        ("dpo", "mamba", "qlora"),
        ("ppo", "llama", "lora"),
        pytest.param("ppo", "mamba", "full", marks=pytest.mark.exhaustive),
    ],
)  # fmt: skip
def test_a_replicate_gives_a_whole_record(method, architecture, peft, launcher, make_cell):
    plan = planned(make_cell, method=method, architecture=architecture, peft=peft)
    record = measure(plan, 0, QUICK, launcher).record
    assert (record.status, record.reason) == ("ok", None)
    assert record.cell == plan.cell
    assert 2 <= len(record.timing.warmup_s) <= 9  # one is asked for, and says nothing alone
    assert len(record.timing.step_s) == 3
    assert sum(p.median_s for p in record.phases.values()) <= 1.05 * max(record.timing.step_s)
    assert all(p.median_s > 0 and p.peak_bytes > 0 for p in record.phases.values())
    peak = record.memory.allocated_peak_bytes
    assert max(p.peak_bytes for p in record.phases.values()) == peak
    assert sum(record.ledger.values()) == peak
    assert abs(record.ledger["unattributed_bytes"]) <= 0.01 * peak
    assert record.memory.kind == "cpu tensor storage"
    assert record.memory.rss_peak_bytes > peak
    assert record.validity["memory"].ok
    assert record.validity["numerics"].ok
    # 2B = 4 rows of T = 16 enter the loss; a rollout writes the last 8 of each.
    rate = record.throughput
    assert rate.trained_tokens_per_s == pytest.approx(4 * 16 / record.timing.median_s)
    written = None if method == "dpo" else pytest.approx(4 * 8 / record.timing.median_s)
    assert rate.generated_tokens_per_s == written
    assert record.provenance.hyperparameters == open_method(method).hyperparameters
    assert (record.provenance.lora_targets == []) == (peft == "full")
    if record.energy.source == "none":
        assert record.energy.reason.code == "energy_unavailable"


@pytest.mark.full
@pytest.mark.parametrize(
    ("architecture", "kernels", "families"),
    [
        pytest.param("llama", "stock", {"attention", "rest"}, marks=pytest.mark.exhaustive),
        ("mamba", "custom", {"scan", "convolution", "rest"}),
    ],
)
def test_operators_are_timed_where_asked_for(architecture, kernels, families, launcher, make_cell):
    plan = planned(make_cell, architecture=architecture, kernels=kernels)
    settings = dataclasses.replace(QUICK, operators=True)
    found = measure(plan, 0, settings, launcher).record.timing.operator_s
    assert set(found) == families
    assert all(seconds > 0 for seconds in found.values())
    assert measure(plan, 0, QUICK, launcher).record.timing.operator_s == {}


def test_what_an_operator_calls_counts_with_it():
    """Plain attention is matrix products and a softmax: they are attention, a product apart not."""
    q = torch.randn(1, 1, 1024, 64)

    def attention():
        with sdpa_kernel(SDPBackend.MATH):
            F.scaled_dot_product_attention(q, q, q)

    def both():
        attention()
        _ = q[0, 0] @ q[0, 0].T

    cpu = torch.device("cpu")
    alone = profile_operators(attention, cpu)
    assert alone["attention"] > 0.9 * sum(alone.values())
    assert profile_operators(both, cpu)["rest"] > alone["rest"]


@pytest.mark.full
def test_identical_seeds_give_identical_losses_and_bytes(launcher, make_cell):
    plan = planned(make_cell, method="ppo", peft="lora")
    first, again = (measure(plan, k, QUICK, launcher).record for k in (0, 1))
    assert first.numerics.losses == again.numerics.losses
    assert first.ledger == again.ledger
    assert first.memory.peak_operator == again.memory.peak_operator
    other = measure(plan, 0, dataclasses.replace(QUICK, seed=1), launcher).record
    assert other.numerics.losses != first.numerics.losses


@pytest.mark.full
def test_a_killed_worker_is_a_record_and_the_next_cell_runs(spy, make_cell):
    """Killed in a step; test_faults_worker.py kills it everywhere else."""
    replicate = Replicate(
        planned=planned(make_cell, architecture="mamba", seq_len=64), index=0, settings=QUICK,
        launcher=spy,
    )  # fmt: skip
    killer = threading.Thread(target=lambda: os.kill(spy.worker.pid, signal.SIGKILL))
    with pytest.raises(Exception, match="SIGKILL"):
        replicate.start()
        killer.start()
        for _ in range(100):
            replicate.step()
    killer.join()
    record = replicate.finish().record
    assert (record.status, record.reason.code) == ("crashed", "worker_died")
    assert "SIGKILL" in record.reason.text
    assert encode_record(record)
    assert measure(planned(make_cell), 0, QUICK, spy).record.status == "ok"


@pytest.mark.full
def test_a_hung_worker_is_killed(launcher):
    worker = launcher.start()
    os.kill(worker.pid, signal.SIGSTOP)
    with pytest.raises(Exception, match="time limit") as caught:
        worker.call("provenance", timeout_s=0.5)
    assert (caught.value.status, caught.value.code) == ("timeout", "timeout")
    with pytest.raises(ProcessLookupError):
        os.kill(worker.pid, 0)


def test_a_replicate_past_its_limit_is_a_record(launcher, make_cell):
    settings = dataclasses.replace(QUICK, timeout_s=0.3)  # building and warming up takes longer
    record = measure(
        planned(make_cell, architecture="mamba", seq_len=128), 0, settings, launcher
    ).record
    assert (record.status, record.reason.code) == ("timeout", "timeout")
    assert "0.3 s; raise it with --timeout" in record.reason.text


@pytest.mark.exhaustive
def test_an_interrupted_start_leaves_no_worker(monkeypatch):
    """Ctrl-C while a worker starts: it must go, or the forkserver would never end."""
    from alignmeter.session.launcher import Worker

    pids = []

    def interrupted(self, timeout_s):
        pids.append(self.pid)
        raise KeyboardInterrupt

    launcher = Launcher()
    launcher.begin_round(0)
    with monkeypatch.context() as patch:
        patch.setattr(Worker, "_receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            launcher.start()
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


@pytest.mark.exhaustive
def test_a_request_cut_short_ends_the_server_in_silence(capfd):
    """Ctrl-C after connecting to the forkserver and before sending what to fork."""
    launcher = Launcher()
    launcher.begin_round(0)
    launcher.start().close()
    server = forkserver._forkserver
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(server._forkserver_address)
    ended = os.waitid(os.P_PID, server._forkserver_pid, os.WEXITED | os.WNOWAIT)
    launcher.close()
    assert ended.si_status == 1
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.full
def test_an_allocation_that_fails_is_out_of_memory(spy, make_cell):
    replicate = Replicate(
        planned=planned(make_cell, seq_len=512), index=0, settings=QUICK, launcher=spy
    )
    replicate.start()
    pages = int(Path(f"/proc/{spy.worker.pid}/statm").read_text().split()[0])
    in_use = pages * os.sysconf("SC_PAGESIZE")
    resource.prlimit(spy.worker.pid, resource.RLIMIT_AS, (in_use, in_use))
    with pytest.raises(Exception, match=r"(?i)memory"):
        for _ in range(20):
            replicate.step()
    record = replicate.finish().record
    assert (record.status, record.reason.code) == ("oom", "out_of_memory")


def test_an_exception_in_the_worker_names_its_place(launcher):
    worker = launcher.start()
    with pytest.raises(Exception, match=r"AttributeError.*line \d+ of") as caught:
        worker.call("no_such_thing", timeout_s=20)
    assert (caught.value.status, caught.value.code) == ("crashed", "exception")
    worker.close()


def test_data_that_is_too_short_is_unsupported(tmp_path, launcher, make_cell):
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "p", "chosen": "c", "rejected": "r"}')
    record = measure(planned(make_cell, data=str(path)), 0, QUICK, launcher).record
    assert (record.status, record.reason.code) == ("unsupported", "data_too_short")


def test_an_unsupported_cell_needs_no_worker(spy, make_cell):
    reason = Reason(code="excluded", text="not tonight")
    plan = Planned(cell=make_cell(), unsupported=reason)
    spy.worker = None
    record = measure(plan, 0, QUICK, spy).record
    assert (record.status, record.reason) == ("unsupported", reason)
    assert spy.worker is None


class Listening:
    def __init__(self, stop_after=None):
        self.begun, self.ended, self.resumed, self.stop_after = [], [], [], stop_after

    def expects(self, count):
        self.expected = count

    def begins(self, job):
        if len(self.begun) == self.stop_after:
            raise KeyboardInterrupt
        self.begun.append(job.planned.cell.id)

    def ends(self, job, record, *, resumed):
        self.ended.append(record)
        self.resumed.append(resumed)


@pytest.mark.exhaustive
def test_a_stopped_run_resumes(tmp_path, launcher, make_cell):
    plan = [planned(make_cell, peft=p) for p in ("full", "lora")]

    def run(listener, settings=QUICK):
        return run_matrix(
            plan, tmp_path, settings, replicates=1, launcher=launcher, listener=listener,
            retry_invalid=False,
        )  # fmt: skip

    with pytest.raises(KeyboardInterrupt):
        run(Listening(stop_after=1))
    assert len(load_folders([tmp_path]).records) == 1
    second = Listening()
    records = run(second)
    assert sorted(second.resumed) == [False, True]
    assert len(records) == len(load_folders([tmp_path]).records) == 2
    third = Listening()
    assert run(third) == records
    assert third.resumed == [True, True]
    fourth = Listening()
    run(fourth, dataclasses.replace(QUICK, seed=5))
    assert fourth.resumed == [False, False]
    for resumed in (False, True):  # a record without operators is not one with them
        fifth = Listening()
        run(fifth, dataclasses.replace(QUICK, seed=5, operators=True))
        assert fifth.resumed == [resumed, resumed]


@pytest.mark.full
def test_a_damaged_record_is_measured_again(tmp_path, launcher, make_cell):
    plan = [planned(make_cell)]

    def run():
        listener = Listening()
        run_matrix(
            plan, tmp_path, QUICK, replicates=1, launcher=launcher, listener=listener,
            retry_invalid=False,
        )  # fmt: skip
        return listener.resumed

    assert run() == [False]
    (path,) = tmp_path.glob("*.json")
    path.write_bytes(path.read_bytes()[:-50])
    assert run() == [False]
    assert run() == [True]


def spoil(folder, **invalid):
    """Give the one record of a folder these validities: figure -> codes."""
    (path,) = folder.glob("*.json")
    record = decode_record(path.read_bytes(), str(path))
    verdicts = {
        name: Verdict(ok=not codes, reasons=[Reason(code=code, text="so") for code in codes])
        for name, codes in invalid.items()
    }
    path.write_bytes(encode_record(msgspec.structs.replace(record, validity=verdicts)))


@pytest.mark.full
def test_what_a_busy_host_spoiled_is_measured_again(tmp_path, launcher, make_cell):
    """What will be invalid again is not: no counter of energy, too few steps."""
    plan = [planned(make_cell)]

    def run(**choice):
        listener = Listening()
        run_matrix(
            plan, tmp_path, QUICK, replicates=1, launcher=launcher, listener=listener, **choice
        )
        assert listener.expected == listener.resumed.count(False)
        return listener.resumed

    run()
    for invalid, stands in (
        ({"time": [], "energy": ["energy_unavailable"]}, True),
        ({"time": ["too_few_steps", "host_loaded"]}, True),
        ({"time": ["host_loaded"], "energy": ["energy_unavailable"]}, False),
        ({"time": ["swap_used", "throttled"]}, False),
    ):
        spoil(tmp_path, **invalid)
        assert run(retry_invalid=False) == [True]
        assert run() == [stands]


def test_rounds_hold_every_cell_once_in_an_order_of_their_own(make_cell):
    plan = [planned(make_cell, batch=b) for b in range(1, 9)]
    orders = [[job.planned.cell.batch for job in jobs] for jobs in rounds(plan, 3, seed=0)]
    assert all(sorted(order) == list(range(1, 9)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    again = [[job.planned.cell.batch for job in jobs] for jobs in rounds(plan, 3, seed=0)]
    assert again == orders


@pytest.mark.exhaustive
def test_each_round_has_a_forkserver_of_its_own():
    launcher = Launcher()

    def parent(number):
        launcher.begin_round(number)
        worker = launcher.start()
        stat = Path(f"/proc/{worker.pid}/stat").read_text()
        worker.close()
        return int(stat.rpartition(")")[2].split()[1])

    first, same, second = parent(0), parent(0), parent(1)
    assert first == same != second


def test_plans_come_in_matrix_order():
    from alignmeter.cells.matrix import Choice

    choices = [Choice(axes={"accelerator": "cpu", "batch": b}) for b in (3, 1, 3)]
    assert [p.cell.batch for p in resolve_plan(choices)] == [3, 1]
