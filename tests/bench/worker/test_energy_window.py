"""Energy per step from scripted readings: every expectation is derived from the script."""

from dataclasses import replace

import msgspec
import pytest

from alignmeter.session.findings.energy import apportioned, polled_j, settle
from alignmeter.telemetry.base import Capabilities, Identity, Sample, nothing_read
from alignmeter.worker.energy_window import measure_window, watch
from alignmeter.worker.messages import EnergyWindow, StepSpans, Target

TARGET = Target(
    device="0",
    identity=Identity(name="scripted", power_cap_w=700.0),
    capabilities=Capabilities(energy_scope="gpu", power_scope="gpu", power_kind="instant"),
)


class Device:
    """600 W while a step runs and 100 W otherwise, on a clock of its own."""

    def __init__(self, tick_s=0.1, own_clock=False):
        self.now_s, self.used_j, self.tick_s, self.own_clock = 0.0, 0.0, tick_s, own_clock
        self.latched = (0.0, 0.0)
        self.watts = 100.0

    target = TARGET

    def sleep(self, seconds):
        """Let time pass, refreshing the counter at every tick."""
        end = self.now_s + seconds
        while self.latched[0] + self.tick_s <= end + 1e-12:
            due = self.latched[0] + self.tick_s
            self.used_j += self.watts * (due - self.now_s)
            self.now_s, self.latched = due, (due, self.used_j)
        self.used_j += self.watts * (end - self.now_s)
        self.now_s = end

    def read(self):
        when, joules = self.latched
        return Sample(
            monotonic_s=self.now_s,
            energy_j=joules,
            device_s=when if self.own_clock else None,
            power_w=self.watts,
        )

    def clock(self):
        return self.now_s


class Steps:
    """Steps of that time on that device, with an idle gap after each and its waits counted."""

    def __init__(self, device, seconds=0.25, gap_s=0.0):
        self.device, self.seconds, self.gap_s = device, seconds, gap_s
        self.runs, self.listed = [], []

    def agreed(self, count):
        return count

    def run(self, count):
        self.runs.append(count)
        for _ in range(count):
            self.listed.append(self._step())
            self.device.sleep(self.gap_s)

    def _step(self):
        start, self.device.watts = self.device.now_s, 600.0
        self.device.sleep(self.seconds)
        end, self.device.watts = self.device.now_s, 100.0
        half = start + self.seconds / 2
        phases = [("forward", start, half), ("backward", half, end)]
        return StepSpans(start_s=start, end_s=end, phases=phases)

    def spans(self):
        return self.listed


def window(device, steps=None):
    steps = steps or Steps(device)
    return measure_window(device, steps, clock=device.clock, sleep=device.sleep)


@pytest.mark.parametrize("own_clock", [False, True])
def test_the_window_is_long_enough_and_its_bound_holds_the_truth(own_clock):
    """Ticks of 0.1 s: 120 of them are 12 s, 48 steps of 0.25 s; each costs 600 W x 0.25 s."""
    device = Device(own_clock=own_clock)
    found = window(device)
    assert found.tick_s == pytest.approx(0.1, abs=0.0021)  # looked at every 2 ms
    energy = settle(found, TARGET, [])
    assert (energy.source, energy.scope, energy.steps) == ("counter", "gpu", len(found.steps))
    assert energy.window_s >= 12.0 - 1e-9
    assert energy.bound_j == pytest.approx(found.tick_s * 700.0 / len(found.steps))
    assert abs(energy.per_step_j - 150.0) <= energy.bound_j
    assert energy.mean_w == pytest.approx(600.0, rel=0.01)


@pytest.mark.parametrize("own_clock", [False, True])
@pytest.mark.parametrize("seconds", [0.003, 0.05, 0.137, 0.7, 2.2])
def test_a_tick_of_20_ms_costs_six_seconds_at_most(seconds, own_clock):
    """Looks at the idle device included; the bound is a tick's share of 120 and more.

    The device is waited for three times at most, whatever the number of steps.
    """
    device = Device(tick_s=0.02, own_clock=own_clock)
    steps = Steps(device, seconds)
    found = window(device, steps)
    assert device.now_s <= 6.0
    assert len(steps.runs) <= 3
    energy = settle(found, TARGET, [])
    assert energy.window_s >= 120 * 0.02
    assert energy.bound_j <= 700.0 * seconds / 120 * 1.0001
    assert abs(energy.per_step_j - 600.0 * seconds) <= energy.bound_j


@pytest.mark.parametrize("gap_s", [0.0, 0.002, 0.04])
def test_what_lies_between_steps_is_no_part_of_a_step(gap_s):
    """Gaps of 40 ms at 100 W are 4 J beside a step's 150 J; the ticks at the ends explain 1.6.

    The truth of the gaps is that of the idle device, so the ticks are all that may be wrong.
    """
    device = Device(tick_s=0.02)
    found = window(device, Steps(device, gap_s=gap_s))
    energy = settle(found, TARGET, [])
    ticks_j = found.tick_s * 700.0 / energy.steps
    assert abs(energy.per_step_j - 150.0) <= ticks_j
    assert energy.gaps == "subtracted"
    assert energy.gap_s == pytest.approx(energy.steps * gap_s, abs=1e-6)
    assert energy.mean_w == pytest.approx(600.0, rel=ticks_j / 150.0)
    # By itself a gap may have taken anything up to the cap: 600 W more than was taken off.
    assert energy.bound_j == pytest.approx(ticks_j + gap_s * 600.0, rel=0.01)
    assert sum(energy.phase_j.values()) == pytest.approx(energy.per_step_j)


def test_gaps_count_where_idle_power_is_unknown():
    """10 steps of 1 s in a window of 12: 2 s of gaps took between 0 and 1400 J."""
    found = made_window(0.0, 6000.0, seconds=12.0)
    energy = settle(found, TARGET, [])
    assert (energy.gaps, energy.gap_s, energy.per_step_j) == ("counted", 2.0, 600.0)
    assert energy.bound_j == pytest.approx((0.1 * 700.0 + 2.0 * 700.0) / 10)


def test_polling_leaves_the_gaps_out_too():
    """400 W for 12 s are 4800 J; 2 s of them are gaps at 100 W; ten steps used 460 J each."""
    idle = replace(made_window(None, None, seconds=12.0), idle_before_w=90.0, idle_after_w=110.0)
    samples = [Sample(monotonic_s=t, power_w=400.0) for t in (1.0, 11.0)]
    energy = settle(idle, TARGET, samples)
    assert (energy.source, energy.gaps) == ("polled", "subtracted")
    assert energy.per_step_j == energy.polled_per_step_j == pytest.approx(460.0)
    assert energy.bound_j == pytest.approx(460.0)  # of at most 700 W in 10 s, all or nothing


def test_a_sensor_that_averages_has_seen_nothing_but_steps():
    """It looks back a second, so steps run for a second before the window."""
    device = Device(tick_s=0.02)
    device.target = replace(TARGET, capabilities=Capabilities(power_kind="average"))
    steps = Steps(device)
    found = window(device, steps)
    lead = steps.listed[: -len(found.steps)]
    assert found.first.monotonic_s - lead[0].start_s >= 1.0
    assert found.steps[0].start_s == found.first.monotonic_s
    assert device.now_s <= 6.0


def test_idle_power_before_and_after():
    """100 W when nothing runs; between refreshes the counter gives it exactly."""
    found = window(Device())
    assert (found.idle_before_w, found.idle_after_w) == pytest.approx((100.0, 100.0), rel=0.02)


def test_a_short_tick_still_gets_its_seconds():
    found = window(Device(tick_s=0.001))
    assert 2.4 <= sum(s.end_s - s.start_s for s in found.steps) < 2.7


def test_a_stall_of_the_host_does_not_pass_for_a_tick():
    device = Device(tick_s=0.05)
    looks = iter(range(10**6))

    def sleep(seconds):
        device.sleep(0.4 if next(looks) == 100 else seconds)

    assert watch(device, clock=device.clock, sleep=sleep).tick_s == pytest.approx(0.05, abs=0.0021)


def test_a_frozen_counter_is_not_believed():
    device = Device(tick_s=1e9)
    found = window(device)
    assert found.frozen
    edges = (found.first, found.last)
    energy = settle(found, TARGET, [msgspec.structs.replace(s, power_w=600.0) for s in edges])
    assert energy.source == "polled"
    assert energy.reason.code == "counter_frozen"


def made_window(first_j, last_j, steps=10, seconds=10.0):
    spans = [
        StepSpans(start_s=k, end_s=k + 1.0, phases=[("forward", k, k + 0.5)]) for k in range(steps)
    ]
    return EnergyWindow(
        first=Sample(monotonic_s=0.0, energy_j=first_j),
        last=Sample(monotonic_s=seconds, energy_j=last_j),
        steps=spans,
        tick_s=0.1,
    )


def test_a_counter_that_steps_back_is_not_believed_even_if_it_ends_higher():
    samples = [
        Sample(monotonic_s=2.0, energy_j=900.0, power_w=400.0),
        Sample(monotonic_s=4.0, energy_j=50.0, power_w=400.0),
    ]
    energy = settle(made_window(100.0, 2000.0), TARGET, samples)
    assert energy.reason.code == "counter_stepped_back"
    assert "850" in energy.reason.text
    assert energy.source == "polled"
    assert energy.per_step_j == pytest.approx(400.0)  # 400 W for 10 s over 10 steps


def test_polled_power_knows_only_that_it_lies_below_the_cap():
    """4000 J polled of at most 7000: the truth may be 0 to 7000, so 4000 away, 400 a step."""
    samples = [Sample(monotonic_s=t, power_w=400.0) for t in (1.0, 9.0)]
    energy = settle(made_window(None, None), TARGET, samples)
    assert energy.reason.code == "energy_unavailable"
    assert energy.bound_j == pytest.approx(400.0)


def test_without_a_cap_there_is_no_bound():
    target = Target(device="0", identity=Identity(name="x"), capabilities=TARGET.capabilities)
    assert settle(made_window(0.0, 1000.0), target, []).bound_j is None


def test_without_counter_and_sensor_no_step_is_run():
    class Blind:
        target = Target(device=None, reason="no driver")

        def read(self):
            return nothing_read("no driver")

    class Never:
        def agreed(self, count):
            return count

        def run(self, count):
            pytest.fail("a step was run")

    found = measure_window(Blind(), Never())
    energy = settle(found, Blind.target, [])
    assert (energy.source, energy.per_step_j, energy.reason.code) == (
        "none",
        None,
        "energy_unavailable",
    )
    assert energy.reason.text == "no driver"


def test_polled_integral_by_hand():
    """100 W rising to 300 W over 2 s are 400 J; a second at each end adds 100 and 300 J."""
    samples = [Sample(monotonic_s=1.0, power_w=100.0), Sample(monotonic_s=3.0, power_w=300.0)]
    assert polled_j(samples, 0.0, 4.0) == pytest.approx(800.0)
    assert polled_j(samples[:1], 0.0, 4.0) is None


def test_phases_share_the_counters_power_by_their_time():
    """Two seconds a step: 1 s of rollout at 300 W, 1 s of backward at 500 W, read every 0.5 s."""
    steps = [
        StepSpans(
            start_s=2.0 * k,
            end_s=2.0 * k + 2.0,
            phases=[("rollout", 2.0 * k, 2.0 * k + 1), ("backward", 2.0 * k + 1, 2.0 * k + 2)],
        )
        for k in range(3)
    ]

    def joules(t):
        whole, rest = divmod(t, 2.0)
        return 800.0 * whole + 300.0 * min(rest, 1.0) + 500.0 * max(rest - 1.0, 0.0)

    samples = [Sample(monotonic_s=0.5 * k, energy_j=joules(0.5 * k)) for k in range(13)]
    found = EnergyWindow(first=samples[0], last=samples[-1], steps=steps, tick_s=0.5)
    assert apportioned(found, samples, 2400.0) == pytest.approx(
        {"rollout": 300.0, "backward": 500.0}
    )


def test_without_readings_between_phases_share_by_time_alone():
    found = made_window(0.0, 4000.0)
    assert apportioned(found, [], 4000.0) == pytest.approx({"forward": 200.0})  # half of each step
