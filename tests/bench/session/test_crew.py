"""Several workers of one replicate: one record, which names the rank that ended it."""

import dataclasses
import functools
import random
import threading
from datetime import UTC, datetime

import faulty_worker
import psutil
import pytest

from alignmeter.methods import open_method
from alignmeter.records.links import MeasuredLinks, TimedCollective
from alignmeter.records.ranks import Collective
from alignmeter.records.record import decode_record, encode_record
from alignmeter.session import Planned, Settings, measure
from alignmeter.session.crew import Crew
from alignmeter.session.findings.ranks import RanksFound
from alignmeter.worker.messages import MemoryProfile, Sent

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


@pytest.mark.full
def test_two_workers_are_one_replicate(launcher, make_cell):
    """Its losses are those of one device with the whole batch, which it agrees with."""
    record = measured(launcher, make_cell)
    assert (record.status, record.reason) == ("ok", None)
    one = measured(launcher, make_cell, world_size=1)
    assert record.numerics.losses == pytest.approx(one.numerics.losses, rel=1e-5)
    assert record.numerics.agrees
    assert record.phases.keys() == one.phases.keys()
    assert record.throughput.trained_tokens_per_s > 0
    check_ranks(record, one)


@pytest.mark.full
@pytest.mark.parametrize("peft", ["full", "lora", "qlora"])
def test_ranks_take_a_checkpoint_s_steps(peft, launcher, make_cell, checkpoints):
    """Which they read block by block, or where it is packed whole."""
    axes = {"model": str(checkpoints["llama"][0]), "peft": peft}
    record = measured(launcher, make_cell, **axes)
    assert (record.status, record.reason) == ("ok", None)
    one = measured(launcher, make_cell, **axes, world_size=1)
    assert record.numerics.losses == pytest.approx(one.numerics.losses, rel=1e-5)


def check_ranks(record, one):
    """Of a step that two took, beside the same step of one."""
    peaks = [rank.peak_bytes for rank in record.ranks]
    assert record.memory.allocated_peak_bytes == max(peaks) > 0
    assert record.ledger == record.ranks[peaks.index(max(peaks))].ledger
    assert record.validity["memory"].ok
    assert [rank.rank for rank in record.ranks] == [0, 1]
    assert {rank.node for rank in record.ranks} == {record.provenance.host}
    assert {(rank.status, rank.last_phase, rank.energy_j) for rank in record.ranks} == {
        ("ok", None, one.energy.per_step_j)
    }
    # A step is as long as its slowest rank took.
    assert record.timing.median_s >= max(rank.median_s for rank in record.ranks)
    assert record.communication.kinds.keys() >= {"all_gather", "reduce_scatter"}
    assert all(kind.calls > 0 < kind.bytes for kind in record.communication.kinds.values())
    assert record.communication.reason.code == "not_measured"
    assert (one.ranks, one.communication, record.failed_rank) == ([], None, None)


@pytest.mark.full
def test_a_rank_that_is_killed_is_named(faulty, launcher, make_cell):
    faulty("backward", faulty_worker.kill)
    record = measured(launcher, make_cell)
    assert (record.status, record.reason.code) == ("crashed", "worker_died")
    assert record.reason.text.startswith("rank 1 of 2: the worker was ended by SIGKILL")
    assert record.failed_rank == 1
    assert [rank.status for rank in record.ranks] == ["ended", "crashed"]
    assert record.ranks[1].last_phase == "backward"
    assert decode_record(encode_record(record), "here") == record


def test_bandwidths_are_those_that_were_measured_before():
    found = RanksFound(size=2)
    profile = MemoryProfile(
        peak_bytes=1, phase=None, operator=None, phase_peaks={}, ledger={},
        sent=(
            Sent("forward", "all_gather", 100), Sent("backward", "all_gather", 50),
            Sent(None, "broadcast", 7),
        ),
    )  # fmt: skip
    found.note("memory_step", [profile, profile])
    assert found.communication().bandwidth_source == ""
    row = TimedCollective(kind="all_gather", nbytes=64, seconds=1.0, bus_bytes_per_s=32.0)
    links = MeasuredLinks(
        schema_version=1, alignmeter="", torch="", accelerator="cpu", device="", world_size=2,
        backend="gloo", measured=datetime(2026, 11, 30, tzinfo=UTC), collectives=[row],
    )  # fmt: skip
    sent = found.communication(links)
    assert sent.bandwidth_source == "alignmeter links, 2026-11-30"
    gathered = Collective(calls=2, bytes=150, bus_bytes_per_s=32.0)
    assert sent.kinds == {"all_gather": gathered, "broadcast": Collective(calls=1, bytes=7)}
    assert found.sent() == {"forward": {"all_gather": 100}, "backward": {"all_gather": 50}}


@pytest.mark.exhaustive
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
    assert (record.failed_rank, record.ranks[1].status) == (1, status)
    assert record.ranks[1].last_phase == "forward"


@pytest.mark.exhaustive
@pytest.mark.parametrize("phase", open_method("dpo").phases)
def test_a_rank_that_hangs_is_named(phase, faulty, launcher, make_cell):
    """In whatever phase: the other one waits for it, asleep."""
    faulty(phase, faulty_worker.hang)
    settings = Settings(steps=1, warmup=1, seed=0, timeout_s=15, sample_hz=0)
    record = measured(launcher, make_cell, settings)
    assert (record.status, record.reason.code) == ("timeout", "timeout")
    assert record.reason.text.startswith("rank 1 of 2 held up a step past the time limit")
    assert (record.failed_rank, record.ranks[1].last_phase) == (1, phase)
    assert [rank.status for rank in record.ranks] == ["ended", "timeout"]


@pytest.mark.exhaustive
def test_a_rank_killed_at_any_moment_is_named(launcher, make_cell, monkeypatch):
    """From the outside, whatever it does: 30 moments from before its models are there to where it
    has taken many steps. No record is lost, and no worker is left.
    """
    moments, plain = random.Random(0), Crew.call
    endless = dataclasses.replace(SHORT, steps=10_000)
    for _ in range(30):
        rank, after_s = moments.randrange(2), moments.uniform(0.0, 6.0)
        timers = []

        def call(self, verb, *arguments, timeout_s, rank=rank, after_s=after_s, timers=timers):
            if not timers:
                victim = psutil.Process(self._workers[rank].pid)
                timers.append(threading.Timer(after_s, victim.kill))
                timers[0].start()
            return plain(self, verb, *arguments, timeout_s=timeout_s)

        monkeypatch.setattr(Crew, "call", call)
        record = measured(launcher, make_cell, endless)
        timers[0].join()
        assert record.reason.code == "worker_died"
        assert record.reason.text.startswith(f"rank {rank} of 2: ")
        assert record.failed_rank == rank
        assert record.ranks[rank].status == "crashed"
        assert record.ranks[1 - rank].status == "ended"
