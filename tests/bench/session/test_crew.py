"""Several workers of one replicate: one record, which names the rank that ended it."""

import functools
import random

import faulty_worker
import psutil
import pytest

from alignmeter.methods import open_method
from alignmeter.session import Planned, Settings, measure
from alignmeter.session.crew import Crew

SHORT = Settings(steps=3, warmup=1, seed=0, timeout_s=120, sample_hz=0)
AXES = {"method": "dpo", "peft": "lora", "world_size": 2, "parallel": "fsdp2"}


@pytest.fixture
def faulty(monkeypatch):
    """A function after which rank 1 has that fault in that phase."""

    def set_up(phase, fault):
        target = functools.partial(
            faulty_worker.serve_with, arrange=faulty_worker.on_rank, arguments=(1, phase, fault)
        )
        monkeypatch.setattr("alignmeter.session.launcher.serve", target)

    return set_up


def left_behind():
    """Children of the forkserver that still run."""
    servers = psutil.Process().children()
    children = [process for server in servers for process in server.children()]
    return [one for one in children if one.status() != psutil.STATUS_ZOMBIE]


def measured(launcher, make_cell, settings=SHORT, **axes):
    cell = make_cell(**{**AXES, **axes})
    record = measure(Planned(cell=cell, unsupported=None), 0, settings, launcher).record
    assert left_behind() == []
    return record


def test_two_workers_are_one_replicate(launcher, make_cell):
    """Its losses are those of one device with the whole batch, which it agrees with."""
    record = measured(launcher, make_cell)
    assert (record.status, record.reason) == ("ok", None)
    one = measured(launcher, make_cell, world_size=1)
    assert record.numerics.losses == pytest.approx(one.numerics.losses, rel=1e-5)
    assert record.numerics.agrees
    assert record.phases.keys() == one.phases.keys()
    assert record.throughput.trained_tokens_per_s > 0


def test_a_rank_that_is_killed_is_named(faulty, launcher, make_cell):
    faulty("backward", faulty_worker.kill)
    record = measured(launcher, make_cell)
    assert (record.status, record.reason.code) == ("crashed", "worker_died")
    assert record.reason.text.startswith("rank 1 of 2: the worker was ended by SIGKILL")


@pytest.mark.full
@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        (faulty_worker.out_of_memory, "oom", "rank 1 of 2: MemoryError: a rank's own"),
        (faulty_worker.lose_driver, "crashed", "rank 1 of 2: RuntimeError: CUDA error"),
    ],
)
def test_a_rank_that_fails_is_named(fault, status, said, faulty, launcher, make_cell):
    """Not the other one, which waits or loses its connection."""
    faulty("forward", fault)
    record = measured(launcher, make_cell)
    assert record.status == status
    assert record.reason.text.startswith(said)


@pytest.mark.full
@pytest.mark.parametrize("phase", open_method("dpo").phases)
def test_a_rank_that_hangs_is_named(phase, faulty, launcher, make_cell):
    """In whatever phase: the other one waits for it, asleep."""
    faulty(phase, faulty_worker.hang)
    settings = Settings(steps=1, warmup=1, seed=0, timeout_s=15, sample_hz=0)
    record = measured(launcher, make_cell, settings)
    assert (record.status, record.reason.code) == ("timeout", "timeout")
    assert record.reason.text.startswith("rank 1 of 2 held up a step past the time limit")


@pytest.mark.full
def test_a_rank_killed_at_any_moment_is_named(launcher, make_cell, monkeypatch):
    """From the outside, whatever it does: 30 moments."""
    moments = random.Random(0)
    plain = Crew.call
    for _ in range(30):
        rank, calls = moments.randrange(2), moments.randrange(1, 9)

        def call(self, verb, *arguments, timeout_s, left=[calls], rank=rank):  # noqa: B006
            left[0] -= 1
            if left[0] == 0:
                psutil.Process(self._workers[rank].pid).kill()
            return plain(self, verb, *arguments, timeout_s=timeout_s)

        monkeypatch.setattr(Crew, "call", call)
        record = measured(launcher, make_cell)
        assert record.reason.code == "worker_died"
        assert record.reason.text.startswith(f"rank {rank} of 2: ")
