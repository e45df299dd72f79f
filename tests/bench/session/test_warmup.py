"""Warm-up goes on until steps get no faster, is bounded, and what still drifts is not ranked.

Replicates run against a worker that tells scripted times, so that nothing depends on the host.
"""

import dataclasses
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignmeter.analysis.roofline import MeasuredCeilings
from alignmeter.records.record import Provenance
from alignmeter.session import Planned, Settings
from alignmeter.session.findings.warmup import MOST_EXTRA, drift, is_settled
from alignmeter.session.replicate import measure
from alignmeter.worker.messages import (
    EnergyWindow,
    MemoryProfile,
    Observed,
    ProcessPeaks,
    StepReport,
    StepSpans,
    Target,
)
from alignmeter.worker.swap import swapped_bytes

SETTINGS = Settings(steps=5, warmup=2, sample_hz=0)
times = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=40)


class ScriptedWorker:
    """Answers every verb of a replicate; its steps take the scripted times, the last one for ever.

    The loss of a step is the number of steps before it, agreement and memory step included.
    """

    pid, start_s = 1, 0.1

    def __init__(self, seconds, swapped, finite_steps=1000):
        self.seconds, self.swapped, self.finite_steps = seconds, swapped, finite_steps
        self.taken, self.timed = 0, 0

    def call(self, verb, *arguments, timeout_s):
        return getattr(self, verb)(*arguments)

    def step(self):
        at = min(self.timed, len(self.seconds) - 1)
        swapped = self.swapped[min(self.timed, len(self.swapped) - 1)]
        self.timed += 1
        self.taken += 1
        loss = float(self.taken - 1) if self.taken <= self.finite_steps else math.nan
        return StepReport(
            seconds=self.seconds[at], phases={}, spans=StepSpans(start_s=0, end_s=1, phases=[]),
            loss=loss, trained_tokens=1, padded_tokens=0, generated_tokens=0, others_share=0.0,
            swapped_bytes=swapped,
        )  # fmt: skip

    def agreement(self, replay):
        self.taken += 2
        return Observed(signals={"loss": [0.0, 1.0]}, rollouts=[], silent_adapters=[])

    def memory_step(self):
        self.taken += 1
        ledger = {"activations_bytes": 8, "unattributed_bytes": 0}
        return MemoryProfile(
            peak_bytes=8, phase=None, operator=None, phase_peaks={}, ledger=ledger
        )  # fmt: skip

    def telemetry_target(self):
        return Target(device=None, reason="none")

    def provenance(self):
        return Provenance(device="scripted", environment_digest="e")

    def notes(self):
        return ()

    def peaks(self):
        return ProcessPeaks(reserved_bytes=None, device_used_bytes=None, rss_bytes=None)

    def energy_window(self):
        return EnergyWindow(unavailable="none")

    def prepare(self):
        return {}

    def open(self, *cell):
        pass

    def build(self):
        return 0.0

    def ceilings(self, accelerator):
        return MeasuredCeilings(fp32_flops_per_s=1e9, bf16_flops_per_s=1e9, bytes_per_s={0: 1e9})

    def begin_timed(self):
        pass

    def close(self):
        pass


@dataclasses.dataclass
class ScriptedLauncher:
    seconds: list
    swapped: tuple = (0,)
    finite_steps: int = 1000

    def start(self):
        return ScriptedWorker(self.seconds, self.swapped, self.finite_steps)

    def start_for(self, *_):
        return self.start()


@pytest.fixture
def replicate(make_cell, monkeypatch, tmp_path):
    """A function of scripted times that gives the record, on a machine whose peaks nobody knows."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    plan = Planned(cell=make_cell(method="sft"), unsupported=None)

    def run(seconds, settings=SETTINGS, **script):
        record = measure(plan, 0, settings, ScriptedLauncher(seconds, **script)).record
        assert record.status == "ok"
        return record

    return run


def codes(record):
    return [reason.code for reason in record.validity["time"].reasons]


@pytest.mark.parametrize(
    ("seconds", "steps"),
    [
        ([1.0, 1.0], 2),
        ([9.0, 1.0], 3),
        ([9.0, 4.0, 2.0, 1.0], 5),
        ([1.0, 2.0], 2),  # a busy host makes steps slower: that is no warm-up
        ([1.0, 0.98], 2),  # less than the smallest effect that counts
    ],
)
def test_warmup_lasts_until_a_step_is_no_faster(seconds, steps, replicate):
    record = replicate(seconds)
    assert record.timing.warmup_s == (seconds + [seconds[-1]] * steps)[:steps]
    assert record.timing.step_s == [seconds[-1]] * 5
    assert codes(record) == []


def test_one_warmup_step_says_nothing_alone(replicate):
    record = replicate([9.0, 1.0], dataclasses.replace(SETTINGS, warmup=1))
    assert record.timing.warmup_s == [9.0, 1.0, 1.0]


def test_warmup_without_an_end_is_bounded_and_not_ranked(replicate):
    record = replicate([0.9**k for k in range(40)])
    assert len(record.timing.warmup_s) == 2 + MOST_EXTRA
    assert len(record.timing.step_s) == 5
    assert codes(record) == ["warmup_unsettled"]
    assert record.validity["memory"].ok


def test_a_pause_in_the_fall_is_found_among_the_timed_steps(replicate):
    """Warm-up ends at the pause; the timed steps fall on."""
    falling = [10.0, 9.0, 8.9, 8.0, 7.0, 6.0, 5.0, 4.0]
    assert codes(replicate(falling)) == ["warmup_unsettled"]


@pytest.mark.parametrize("slow", [0, 3])
def test_longer_warmup_leaves_the_losses_of_the_same_steps(slow, replicate):
    """Agreement takes steps 0 and 1, warm-up 2 and 3, and the memory step 4, whatever comes."""
    record = replicate([2.0**k for k in range(slow, 0, -1)] + [1.0])
    assert len(record.timing.warmup_s) == 2 + slow
    assert record.numerics.losses == [0.0, 1.0, 2.0, 3.0, 5.0, 6.0, 7.0, 8.0, 9.0]


def test_a_loss_beyond_those_is_not_hidden(replicate):
    record = replicate([8.0, 4.0, 2.0, 1.0], finite_steps=11)
    assert record.numerics.losses[-1] is None
    assert [r.code for r in record.validity["numerics"].reasons] == ["non_finite_loss"]


def test_memory_that_goes_to_swap_while_steps_are_timed(replicate):
    """The first two values are those of warm-up."""
    assert codes(replicate([1.0], swapped=(0, 4096, 4096))) == []
    assert codes(replicate([1.0], swapped=(0, 0, 4096))) == ["swap_used"]
    assert codes(replicate([1.0], swapped=(None,))) == []


def test_swap_is_read_from_the_kernel(tmp_path):
    (tmp_path / "7").mkdir()
    status = tmp_path / "7" / "status"
    status.write_text("Name:\tpython\nVmRSS:\t  100 kB\nVmSwap:\t   12 kB\n")
    assert swapped_bytes(7, tmp_path) == 12 * 1024
    status.write_text("Name:\tpython\nVmRSS:\t  100 kB\n")
    assert swapped_bytes(7, tmp_path) is None
    assert swapped_bytes(8, tmp_path) is None


@given(times)
def test_a_step_that_repeats_the_fastest_settles(seconds):
    assert is_settled([*seconds, min(seconds)])
    assert not is_settled([*seconds, 0.9 * min(seconds)])


@given(times, st.floats(1e-3, 1e3))
def test_only_falling_steps_drift(seconds, flat):
    assert drift(sorted(seconds), sorted(seconds)) is None
    assert drift([flat] * len(seconds), [flat] * len(seconds)) is None
    assert drift([], seconds[:6]) is None  # too few to tell


def test_how_often_a_drift_is_seen_that_is_none_and_one_that_is():
    """Two warm-up and ten timed steps, log-normal, each with 0.7 of the deviation before it."""
    rng = random.Random(0)

    def seconds(fall, scatter):
        value, found = rng.gauss(0, scatter), []
        for k in range(12):
            value = 0.7 * value + rng.gauss(0, scatter * math.sqrt(1 - 0.7**2))
            found.append((1 + fall * (11 - k) / 11) * math.exp(value))
        return found

    def called(fall, scatter, trials):
        made = (seconds(fall, scatter) for _ in range(trials))
        return sum(drift(s[:2], s[2:]) is not None for s in made) / trials

    assert called(0.0, 0.10, 4000) < 0.01
    assert called(0.4, 0.02, 500) > 0.9
