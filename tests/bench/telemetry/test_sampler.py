"""The ring that outlives its writer, the sampler, timeouts of drivers, timelines."""

import gzip
import os
import signal
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignmeter.errors import InputError
from alignmeter.records.timeline import (
    FIGURE_FIELDS,
    Mark,
    Timeline,
    decode_timeline,
    encode_timeline,
)
from alignmeter.session.sampling import Sampling
from alignmeter.telemetry.base import (
    FIGURES,
    LIMITS,
    THROTTLES,
    Capabilities,
    Identity,
    NoTelemetry,
    Probe,
    Sample,
    checked_sample,
)
from alignmeter.telemetry.cached import CachedAnswers
from alignmeter.telemetry.ring import Ring
from alignmeter.telemetry.sampler import SamplerProcess
from alignmeter.telemetry.timeout import WithTimeout
from alignmeter.worker.messages import StepSpans, Target

figures = st.fixed_dictionaries(
    {
        name: st.none()
        | (
            st.integers(0, 2**46)
            if name.endswith(("_bytes", "_errors"))
            else st.floats(0.0, 1e9, allow_nan=False)
        )
        for name in FIGURES
    }
)
throttles = st.none() | st.sets(st.sampled_from(THROTTLES)).map(
    lambda chosen: tuple(word for word in THROTTLES if word in chosen)
)
samples = st.builds(
    lambda when, values, why: Sample(monotonic_s=when, throttles=why, **values),
    st.floats(0.0, 1e9),
    figures,
    throttles,
)


@pytest.fixture
def handle():
    handle = os.memfd_create("test-ring")
    yield handle
    os.close(handle)


@given(written=st.lists(samples, max_size=12), capacity=st.integers(1, 8))
def test_a_ring_gives_back_the_last_samples(written, capacity):
    handle = os.memfd_create("test-ring")
    ring = Ring(handle, capacity=capacity)
    for sample in written:
        ring.append(sample, 0.5)
    reader = Ring(handle)
    assert reader.samples() == written[-capacity:]
    assert reader.written == len(written)
    ring.close()
    reader.close()
    os.close(handle)


def test_a_ring_keeps_why_figures_are_missing_as_far_as_there_is_room(handle):
    ring = Ring(handle, capacity=2)
    ring.note({"power_w": "no sensor", "energy_j": "x" * 9000})
    assert Ring(handle).missing() == {"power_w": "no sensor"}


def test_what_is_no_ring_is_refused(handle):
    os.ftruncate(handle, 20_000)
    with pytest.raises(ValueError, match="does not hold a ring"):
        Ring(handle)


def test_values_out_of_range_are_missing_with_the_range():
    found = checked_sample(1.0, {"power_w": 900.0, "energy_j": -1.0}, {}, power_cap_w=400.0)
    assert (found.power_w, found.energy_j) == (None, None)
    assert "not within 0.1 and 800" in found.missing["power_w"]
    assert set(LIMITS) == set(FIGURES)


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def started(hz=50.0, device="cpu", longest_s=60.0):
    return SamplerProcess("cpu", device, pid=os.getpid(), hz=hz, longest_s=longest_s)


def test_the_sampler_reads_this_process_until_it_is_asked_to_stop():
    sampler = started()
    wait_for(lambda: sampler.written >= 10)
    found = sampler.stop()
    assert found.failure is None
    assert len(found.samples) >= 10
    times = [s.monotonic_s for s in found.samples]
    assert times == sorted(times)
    rss = found.samples[-1].memory_process_bytes
    assert rss is not None
    assert 2**20 < rss < 2**40
    assert found.cpu_s > 0.0
    assert "power_w" in found.missing
    with pytest.raises(ProcessLookupError):
        os.kill(sampler.pid, 0)


def test_a_sampler_that_dies_leaves_its_samples_and_is_told_of():
    sampler = started()
    wait_for(lambda: sampler.written >= 5)
    os.kill(sampler.pid, signal.SIGKILL)
    found = sampler.stop()
    assert len(found.samples) >= 5
    code, text = found.failure
    assert code == "sampler_ended"
    assert "-9" in text


def test_a_sampler_that_cannot_start_says_why():
    sampler = started(device="no-such-device")
    wait_for(lambda: sampler._process.poll() is not None)
    found = sampler.stop()
    assert found.samples == []
    assert "no-such-device" in found.failure[1]


def test_ctrl_c_and_term_leave_the_sampler_running():
    sampler = started()
    wait_for(lambda: sampler.written >= 1)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(sampler.pid, number)
    before = sampler.written
    wait_for(lambda: sampler.written > before + 3)
    assert sampler.stop().failure is None


def test_a_full_ring_keeps_the_newest():
    sampler = started(hz=100.0, longest_s=0.05)
    wait_for(lambda: sampler.written >= 20)
    found = sampler.stop()
    assert len(found.samples) == 6
    assert found.overwritten >= 14


class Stuck(NoTelemetry):
    """A library whose reads do not return until they are released."""

    def __init__(self):
        self.release = threading.Event()
        self.calls = 0

    def probe(self):
        return Probe(available=True)

    def devices(self):
        return ["0"]

    def identity(self, device):
        return Identity(name="stuck")

    def capabilities(self, device):
        return Capabilities()

    def read(self, device):
        self.calls += 1
        self.release.wait(30.0)
        return Sample(monotonic_s=0.0, power_w=1.0)


def test_a_hung_driver_is_given_up_on_once_and_told_of():
    stuck = Stuck()
    guarded = WithTimeout(lambda: stuck, timeout_s=0.1)
    assert guarded.probe().available
    assert guarded.identity("0").name == "stuck"
    for _ in range(2):
        assert "did not answer within 0.1 s" in guarded.read("0").missing["power_w"]
    assert stuck.calls == 1
    assert not guarded.probe().available
    assert guarded.devices() == []
    with pytest.raises(TimeoutError, match="did not answer"):
        guarded.capabilities("0")
    guarded.close()
    stuck.release.set()


def test_a_driver_that_hangs_when_it_is_opened():
    release = threading.Event()
    guarded = WithTimeout(lambda: release.wait(30.0), timeout_s=0.1)
    probe = guarded.probe()
    assert not probe.available
    assert probe.reason == "the driver did not answer within 0.1 s"
    with pytest.raises(TimeoutError):
        guarded.identity("0")
    assert guarded.read("0").power_w is None
    release.set()


def test_slow_figures_stand_for_a_second(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    cached, asked = CachedAnswers(), []

    def question():
        asked.append(now[0])
        return len(asked)

    answers = []
    for now[0] in (100.0, 100.5, 100.99, 101.01, 101.5, 102.02):
        answers.append(cached.answer("temperature_c", question))
    assert answers == [1, 1, 1, 2, 2, 3]


def test_errors_of_an_adapter_reach_who_asked():
    guarded = WithTimeout(lambda: NoTelemetry("no driver"))
    assert guarded.probe().reason == "no driver"
    with pytest.raises(KeyError):
        guarded.read("0")
    guarded.close()


def test_no_device_no_sampler_and_the_reason_in_the_record():
    sampling = Sampling(20.0)
    sampling.start("cuda", Target(device=None, reason="no driver"), os.getpid(), 10.0)
    assert sampling.pid is None
    sampling.stop()
    telemetry = sampling.telemetry()
    assert (telemetry.reason.code, telemetry.reason.text) == ("telemetry_unavailable", "no driver")
    assert sampling.timeline() is None


def test_a_sampler_switched_off_says_so():
    sampling = Sampling(0.0)
    sampling.start("cpu", Target(device="cpu"), os.getpid(), 10.0)
    sampling.stop()
    assert sampling.telemetry().reason.code == "sampler_off"


def test_the_timeline_marks_stages_and_phases_on_the_samplers_clock():
    sampling = Sampling(50.0)
    sampling.start("cpu", Target(device="cpu"), os.getpid(), 10.0)
    start = time.monotonic()
    time.sleep(0.5)
    middle, end = start + 0.2, time.monotonic()
    step = StepSpans(start_s=start, end_s=end, phases=[("forward", start, middle)])
    sampling.stop()
    sampling.mark_steps("timed", [step])
    timeline = sampling.timeline()
    stage, phase = timeline.marks
    assert (stage.stage, stage.phase, phase.phase, phase.step) == ("timed", "", "forward", 0)
    assert phase.end_s - phase.start_s == pytest.approx(0.2)
    assert len(sampling.during([step]).samples) <= len(timeline.samples)
    assert sampling.telemetry().cpu_share < 1.0


words = st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=1, max_size=8)
seconds = st.integers(0, 10**9).map(lambda micros: micros / 1e6)
marks = st.builds(
    Mark,
    stage=words,
    start_s=seconds,
    end_s=seconds,
    step=st.none() | st.integers(0, 100),
    phase=words | st.just(""),
)
rows = st.builds(
    lambda when, values, why: {"time_s": when, **values, "throttles": " ".join(why or ())},
    seconds,
    figures.map(lambda values: {name: values[name] for name in FIGURE_FIELDS}),
    throttles,
)


@given(made=st.builds(Timeline, marks=st.lists(marks), samples=st.lists(rows)))
def test_a_timeline_reads_back_as_it_was_written(made):
    data = encode_timeline(made)
    assert data == encode_timeline(made)
    assert decode_timeline(data, "here") == made


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"not gzip", "not a gzipped CSV"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), "its first line should be"),
        (encode_timeline(Timeline())[:-9], "not a gzipped CSV"),
    ],
    ids=["foreign", "no timeline", "cut"],  # of the bytes: gzip's hold the time of day
)
def test_a_bad_timeline_is_refused_by_name(data, said):
    with pytest.raises(InputError, match=f"^here: .*{said}"):
        decode_timeline(data, "here")


def test_a_bad_row_is_refused_by_line():
    header = gzip.decompress(encode_timeline(Timeline())).decode()
    for row in ("sample,abc" + "," * 14, "other,1,2" + "," * 13):
        with pytest.raises(InputError, match="here, line 2"):
            decode_timeline(gzip.compress((header + row + "\n").encode(), mtime=0), "here")
