"""Steps of the energy window: the device is never without work between them."""

import time

import pytest

from alignmeter.accelerators.cpu import CPU, Cpu
from alignmeter.telemetry.base import Capabilities, Sample
from alignmeter.worker.messages import Target
from alignmeter.worker.queued import QueuedSteps
from alignmeter.worker.workload import Workload

LAUNCH_S, KERNEL_S = 0.001, 0.010


class Queue:
    """A device that works through what the host has asked of it, on a clock of their own."""

    def __init__(self):
        self.host_s = self.free_s = 0.0
        self.waits = 0

    def mark(self):
        return max(self.host_s, self.free_s)

    def seconds(self, start, end):
        return end - start

    def synchronise(self):
        self.waits += 1
        self.host_s = max(self.host_s, self.free_s)

    def launch(self):
        self.host_s += LAUNCH_S
        self.free_s = max(self.host_s, self.free_s) + KERNEL_S


class TwoKernels:
    def __init__(self, queue):
        self.queue, self.batches = queue, []

    def run(self, batch, probe):
        self.batches.append(batch)
        for phase in ("forward", "backward"):
            with probe.phase(phase):
                self.queue.launch()


def test_a_step_begins_where_the_one_before_it_ended():
    """The host needs 2 ms to ask for 20 ms of work, so only the first kernel is waited for."""
    queue = Queue()
    step = TwoKernels(queue)
    steps = QueuedSteps(step, ["a", "b"], queue)
    steps.run(5)
    assert queue.waits == 2
    assert step.batches == ["a", "b", "a", "b", "a"]
    spans = steps.spans()
    ends = [span.end_s - spans[0].start_s for span in spans]
    assert ends == pytest.approx([LAUNCH_S + 2 * KERNEL_S * k for k in range(1, 6)])
    assert [s.start_s for s in spans[1:]] == pytest.approx([s.end_s for s in spans[:-1]])
    forward, backward = spans[3].phases
    assert (forward[0], backward[0]) == ("forward", "backward")
    assert (forward[1], backward[2]) == pytest.approx((spans[3].start_s, spans[3].end_s))
    assert forward[2] - forward[1] == pytest.approx(KERNEL_S)


def test_a_second_run_goes_on_with_the_batches_and_the_clock():
    queue = Queue()
    step = TwoKernels(queue)
    steps = QueuedSteps(step, ["a", "b"], queue)
    steps.run(1)
    steps.run(2)
    assert (queue.waits, step.batches) == (4, ["a", "b", "a"])
    assert len(steps.spans()) == 3


class CountingCpu(Cpu):
    """A CPU that notes when somebody waits for it."""

    waits = 0

    def synchronise(self):
        CountingCpu.waits += 1


class Counter:
    """A counter of 50 W with a tick of 1 ms, on the host's clock."""

    target = Target(device="0", capabilities=Capabilities(energy_scope="socket"))

    def read(self):
        now_s = time.monotonic()
        return Sample(monotonic_s=now_s, energy_j=50.0 * round(now_s, 3), device_s=now_s)


@pytest.mark.full
def test_a_workload_rarely_waits_for_its_device_and_takes_no_batch_between(make_cell, monkeypatch):
    """A timed step waits twice and takes a batch. The window's steps do neither: it waits around
    its first one and at its end, and once more each time when steps were faster than those before.
    """
    load = Workload(make_cell(), 0)
    load.build()
    load.step()
    load.accelerator = CountingCpu(**{f: getattr(CPU, f) for f in Cpu.__dataclass_fields__})
    load.meter = Counter()
    taken = []
    take = load._take
    monkeypatch.setattr(load, "_take", lambda: taken.append(CountingCpu.waits) or take())
    monkeypatch.setattr(CountingCpu, "waits", 0)
    found = load.energy_window()
    assert len(found.steps) > 20
    assert CountingCpu.waits < len(found.steps)
    assert set(taken) == {0}
