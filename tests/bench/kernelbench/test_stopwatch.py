"""Time by a device's own events: one wait a round, caches flushed outside of what is timed.

The device is pretended: it works through what it was asked for when somebody waits, and its events
cannot be read before.
"""

from dataclasses import dataclass, field

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from alignmeter.accelerators.cpu import CPU, Cpu
from alignmeter.accelerators.cuda import CUDA
from alignmeter.accelerators.gpu import Gpu
from alignmeter.accelerators.rocm import ROCM
from alignmeter.kernelbench import Comparison
from alignmeter.kernelbench.stopwatch import Pace, Stopwatch
from alignmeter.units import MIB

CACHE_BYTES = 1000
CALL_S, FLUSH_S = 0.002, 0.0005
OF_A_CPU = {name: getattr(CPU, name) for name in CPU.__dataclass_fields__} | {"name": "queued"}


@dataclass(eq=False)
class Event:
    at_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Queued(Cpu):
    """What it was asked for and has not done; ``log``: all that it was asked for, in order."""

    log: list = field(default_factory=list)
    pending: list = field(default_factory=list)
    clock: list = field(default_factory=lambda: [0.0])

    def ask(self, what, seconds=0.0):
        self.log.append(what)
        self.pending.append((what, seconds))

    def mark(self):
        event = Event()
        self.ask(event)
        return event

    def synchronise(self):
        self.log.append("wait")
        for what, seconds in self.pending:
            self.clock[0] += seconds
            if isinstance(what, Event):
                what.at_s = self.clock[0]
        self.pending.clear()

    def seconds(self, start, end):
        if start.at_s is None or end.at_s is None:
            raise RuntimeError("device not ready")
        self.log.append("read")
        return end.at_s - start.at_s

    def cache_bytes(self):
        return CACHE_BYTES

    def call(self):
        self.ask("call", CALL_S)

    def words(self):
        """The log, events as ``mark``."""
        return ["mark" if isinstance(what, Event) else what for what in self.log]


class Flushes(TorchDispatchMode):
    """Tells the device of each zeroing."""

    def __init__(self, device):
        super().__init__()
        self._device, self.sizes = device, set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.zero_.default:
            self.sizes.add(args[0].nbytes)
            self._device.ask("flush", FLUSH_S)
        return function(*args, **(kwargs or {}))


@pytest.fixture
def device():
    return Queued(**OF_A_CPU)


def test_one_wait_a_round_and_flushes_outside_of_the_spans(device):
    watch = Stopwatch(device)
    with Flushes(device) as flushes:
        found = watch.seconds(device.call, Pace(calls=3, flushes=2))
    assert found == pytest.approx(CALL_S)
    one = ["flush", "flush", "mark", "call", "mark"]
    assert device.words() == [*one * 3, "wait", *["read"] * 3]
    assert flushes.sizes == {2 * CACHE_BYTES}


def test_a_comparison_waits_once_for_each_round(device):
    both = Comparison(ours=device.call, theirs=device.call, accelerator=device)
    with Flushes(device):
        both.warm_up()
        device.log.clear()
        for _ in range(4):
            both.run_theirs()
            both.run_ours()
    assert device.words().count("wait") == 8
    assert both.summary()["ours_s"] == pytest.approx(CALL_S)
    assert both.summary()["speedup"] == pytest.approx(1)


def test_a_round_lasts_10_ms_where_caches_are_flushed(device):
    """10 / 2 ms: 5 calls. The host asked in microseconds: one flush of 0.5 ms covers that."""
    with Flushes(device):
        found = Stopwatch(device).pace(device.call)
    assert found == Pace(calls=5, flushes=1)


def test_the_device_is_kept_busy_while_the_host_asks(device, monkeypatch):
    """4.2 ms for one call are nine flushes of 0.5 ms."""
    moments = iter([1.0, 1.0042])
    monkeypatch.setattr("alignmeter.kernelbench.stopwatch.time.perf_counter", lambda: next(moments))
    with Flushes(device):
        found = Stopwatch(device).pace(device.call)
    assert found == Pace(calls=5, flushes=9)


def test_a_cpu_is_timed_by_its_own_clock_and_flushes_nothing(monkeypatch):
    """20 ms a call: three fill the 50 ms of a round that pays for the caches."""
    moment = [5.0]

    def call():
        moment[0] += 0.02

    monkeypatch.setattr("time.perf_counter", lambda: moment[0])
    watch = Stopwatch(CPU)
    pace = watch.pace(call)
    assert pace == Pace(calls=3, flushes=0)
    assert watch.seconds(call, pace) == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("row", "properties", "size"),
    [
        (CUDA, {"L2_cache_size": 50 * MIB}, 50 * MIB),
        (ROCM, {"L2_cache_size": 4 * MIB}, 256 * MIB),
        (CUDA, {}, None),
        (CUDA, {"last_level_cache_size": 24 * MIB}, 24 * MIB),
    ],
    ids=["NVIDIA", "AMD's Infinity Cache is not reported", "nothing told", "Intel's word"],
)
def test_the_largest_cache_is_flushed(row, properties, size, monkeypatch):
    class Module:
        @staticmethod
        def current_device():
            return 0

        @staticmethod
        def get_device_properties(index):
            assert index == 0
            return type("Properties", (), properties)()

    monkeypatch.setattr(Gpu, "_module", Module)
    assert row.cache_bytes() == size
