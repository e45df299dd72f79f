"""A worker that dies, hangs, runs out of memory or computes nonsense: one record says so."""

import dataclasses
import functools
import os
import signal

import faulty_worker
import psutil
import pytest

from alignmeter.errors import CellError
from alignmeter.methods import open_method
from alignmeter.records.record import decode_record, encode_record
from alignmeter.session import Planned, Settings, measure
from alignmeter.session.launcher import Launcher

SHORT = Settings(steps=1, warmup=1, seed=0, timeout_s=120, sample_hz=20)
PHASES = open_method("ppo").phases
VERBS = (
    "provenance", "build", "prepare", "agreement", "memory_step", "begin_timed", "peaks",
    "energy_window",
)  # fmt: skip
BEFORE_MEMORY = {"provenance", "build", "prepare", "agreement", "memory_step", *PHASES}


@pytest.fixture
def faulty(monkeypatch):
    """A function after which workers have that fault."""

    def set_up(arrange, *arguments):
        target = functools.partial(faulty_worker.serve_with, arrange=arrange, arguments=arguments)
        monkeypatch.setattr("alignmeter.session.launcher.serve", target)

    return set_up


def left_behind(launcher):
    """Descendants of this process that are neither the forkserver nor Python's tracker."""
    servers = psutil.Process().children()
    return [
        process
        for server in servers
        for process in server.children()
        if process.status() != psutil.STATUS_ZOMBIE
    ] + [process for process in servers if "telemetry.sampler" in " ".join(process.cmdline())]


def measured(launcher, make_cell, settings=SHORT, **axes):
    plan = Planned(cell=make_cell(**{"method": "ppo", **axes}), unsupported=None)
    record = measure(plan, 0, settings, launcher).record
    assert left_behind(launcher) == []
    assert decode_record(encode_record(record), "here") == record
    return record


def assert_killed(record, place):
    assert (record.status, record.reason.code) == ("crashed", "worker_died")
    assert "SIGKILL (the kernel does that when memory runs out)" in record.reason.text
    assert "USDT:" not in record.reason.text  # torch's profiler, whatever ended the process
    measured_memory = record.memory.allocated_peak_bytes is not None
    assert measured_memory == (place not in BEFORE_MEMORY)


@pytest.mark.exhaustive
@pytest.mark.parametrize("phase", PHASES)
def test_a_worker_killed_in_a_phase_of_ppo(phase, faulty, launcher, make_cell):
    faulty(faulty_worker.in_phase, phase, faulty_worker.kill)
    assert_killed(measured(launcher, make_cell), phase)


@pytest.mark.exhaustive
@pytest.mark.parametrize("verb", VERBS)
def test_a_worker_killed_at_what_it_is_asked_for(verb, faulty, launcher, make_cell):
    faulty(faulty_worker.at_verb, verb, faulty_worker.kill)
    assert_killed(measured(launcher, make_cell), verb)


@pytest.mark.exhaustive
@pytest.mark.parametrize("phase", [None, *PHASES])
def test_no_memory_in_a_phase(phase, faulty, launcher, make_cell):
    if phase is None:
        faulty(faulty_worker.at_verb, "build", faulty_worker.use_up_memory)
    else:
        faulty(faulty_worker.in_phase, phase, faulty_worker.use_up_memory)
    record = measured(launcher, make_cell, seq_len=512, batch=4)
    assert (record.status, record.reason.code) == ("oom", "out_of_memory")


@pytest.mark.exhaustive
@pytest.mark.parametrize("place", ["rollout", "energy_window"])
def test_a_worker_that_hangs_is_ended(place, faulty, launcher, make_cell):
    arrange = faulty_worker.in_phase if place in PHASES else faulty_worker.at_verb
    faulty(arrange, place, faulty_worker.hang)
    settings = dataclasses.replace(SHORT, timeout_s=4.0)
    record = measured(launcher, make_cell, settings)
    assert (record.status, record.reason.code) == ("timeout", "timeout")
    assert "4 s; raise it with --timeout" in record.reason.text


@pytest.mark.exhaustive
def test_losses_that_are_no_numbers_spoil_the_numerics_alone(faulty, launcher, make_cell):
    faulty(faulty_worker.spoil_weights)
    settings = dataclasses.replace(SHORT, steps=3)
    record = measured(launcher, make_cell, settings, method="dpo")
    assert (record.status, record.reason) == ("ok", None)
    assert None not in record.numerics.losses[:-3]
    assert record.numerics.losses[-3:] == [None, None, None]
    assert [r.code for r in record.validity["numerics"].reasons] == ["non_finite_loss"]
    assert record.validity["memory"].ok


@pytest.mark.full
def test_a_driver_lost_in_a_step_costs_that_cell(faulty, monkeypatch, launcher, make_cell):
    faulty(faulty_worker.in_phase, "backward", faulty_worker.lose_driver)
    record = measured(launcher, make_cell, method="dpo")
    assert (record.status, record.reason.code) == ("crashed", "exception")
    assert "RuntimeError: CUDA error: unspecified launch failure" in record.reason.text
    monkeypatch.undo()
    assert measured(launcher, make_cell, method="dpo").status == "ok"


@pytest.mark.full
def test_a_wall_clock_that_steps_back_changes_no_duration(faulty, monkeypatch, launcher, make_cell):
    """Durations come from the monotonic clock, here and in the worker."""
    faulty(faulty_worker.step_clock_back)
    steps = iter(range(10**9, 0, -100))
    with monkeypatch.context() as patch:
        patch.setattr("time.time", lambda: next(steps))
        record = measured(launcher, make_cell, method="dpo")
    timing = record.timing
    durations = [timing.worker_start_s, timing.build_s, *timing.warmup_s, *timing.step_s]
    assert record.status == "ok"
    assert all(0.0 < seconds < 60.0 for seconds in durations)
    assert all(0.0 <= phase.median_s <= timing.median_s for phase in record.phases.values())
    assert 0.0 < record.telemetry.longest_gap_s < 60.0


@pytest.mark.exhaustive
def test_a_lost_forkserver_costs_one_cell():
    launcher = Launcher()
    launcher.begin_round(0)
    worker = launcher.start()
    process = psutil.Process(worker.pid)
    os.kill(process.ppid(), signal.SIGKILL)
    process.wait(20)
    with pytest.raises(CellError, match="ended with the server that it was forked from") as caught:
        worker.call("provenance", timeout_s=20)
    assert (caught.value.status, caught.value.code) == ("crashed", "worker_died")
    worker.kill()
    again = launcher.start()
    assert again.start_s > 0.0
    again.close()
    launcher.close()


@pytest.mark.exhaustive
def test_a_server_that_ends_while_it_starts_is_no_traceback(monkeypatch):
    launcher = Launcher()

    def ended(*process):
        raise EOFError

    launcher.begin_round(0)
    monkeypatch.setattr("multiprocessing.context.ForkServerProcess._Popen", ended)
    with pytest.raises(CellError, match="no worker could be started: its server ended"):
        launcher.start()
    launcher.close()


def test_no_room_for_a_socket_is_one_sentence(monkeypatch):
    from alignmeter.errors import InputError

    def full():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("multiprocessing.forkserver.ensure_running", full)
    with pytest.raises(InputError, match="No space left on device; TMPDIR should name a folder"):
        Launcher().begin_round(0)
