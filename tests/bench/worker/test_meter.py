"""From the vendor's library to the record's energy: a real step, a sampler and a scripted GPU."""

import os
import time

import pytest
import torch
from nvml_stub import H100_SXM, build_nvml, environment, mig_slice, use_nvml
from stub_libraries import NO_COMPILER, Clock, Scenario, compiler

from alignmeter.accelerators import open_accelerator
from alignmeter.accelerators.base import Device
from alignmeter.session.findings.energy import settle
from alignmeter.session.sampling import Sampling
from alignmeter.telemetry.base import NoTelemetry
from alignmeter.telemetry.nvidia.nvml import open_nvml
from alignmeter.telemetry.timeout import WithTimeout
from alignmeter.worker.energy_window import measure_window
from alignmeter.worker.messages import StepSpans
from alignmeter.worker.meter import Meter
from alignmeter.worker.workload import Workload

needs_compiler = pytest.mark.skipif(compiler() is None, reason=NO_COMPILER)
GIB = 2**30


@pytest.fixture
def scripted(monkeypatch, tmp_path):
    """A function of a trace and device keys: NVML here and in child processes, in real time."""

    def script(trace, **keys):
        # One origin for all processes: a device has one counter.
        origin = {"started_ns": time.monotonic_ns()}
        scenario = Scenario([{**H100_SXM, **keys}], library=origin, traces={0: trace})
        library = build_nvml(tmp_path)
        use_nvml(monkeypatch, library, scenario, tmp_path)
        monkeypatch.delenv("STUB_CLOCK")
        found = environment(library, tmp_path / "scenario", Clock(tmp_path / "clock"))
        monkeypatch.setenv("LD_LIBRARY_PATH", found["LD_LIBRARY_PATH"])

    return script


@pytest.fixture
def load(make_cell):
    """A real cell on the CPU; built before the script's time begins."""
    load = Workload(make_cell(), 0)
    load.build()
    load.step()
    return load


def measured(load):
    """Its energy, if it ran on the scripted GPU."""
    load.meter = meter = Meter(open_accelerator("cpu"), WithTimeout(lambda: open_nvml(os.getpid())))
    sampling = Sampling(20.0)
    sampling.start("cuda", meter.target, os.getpid(), 60.0)
    window = load.energy_window()
    sampling.stop()
    meter.close()
    return window, meter.target, sampling


@pytest.mark.full
@needs_compiler
def test_energy_of_a_real_step_with_its_bound_check_and_phases(scripted, load):
    """300 W all along: a step uses 300 W x its time, polled as counted; phases likewise."""
    scripted([(0.0, 300.0, 7 * GIB, 0)])
    window, target, sampling = measured(load)
    energy = settle(window, target, sampling.samples)
    assert (energy.source, energy.scope, energy.power_kind) == ("counter", "gpu", "instant")
    truth = 300.0 * (energy.window_s - energy.gap_s) / energy.steps
    assert abs(energy.per_step_j - truth) <= energy.bound_j
    assert energy.gaps == "subtracted"
    assert energy.gap_s < 0.05  # nothing but two or three waits lies between the steps
    assert energy.window_s >= 2.4
    assert energy.tick_s == pytest.approx(0.02, abs=0.01)
    assert energy.polled_per_step_j == pytest.approx(truth, rel=0.01)
    assert energy.idle_before_w == pytest.approx(300.0, rel=0.01)
    assert set(energy.phase_j) == {"ref_forward", "forward", "backward", "optimizer"}
    # The 48 readings of a window know its energy to a tick of 20 ms, 40 % of the 50 ms between
    # two: in the mean 6 %, the same for all phases that lie between those two.
    for name, joules in energy.phase_j.items():
        spent = sum(t1 - t0 for s in window.steps for phase, t0, t1 in s.phases if phase == name)
        assert joules == pytest.approx(300.0 * spent / energy.steps, rel=0.15), name
    readings = sampling.during(window.steps)
    assert readings.device_peak_bytes() == 7 * GIB
    telemetry = sampling.telemetry()
    assert telemetry.reason is None
    assert telemetry.source.startswith("NVML")
    assert sampling.timeline().samples[0]["power_w"] == pytest.approx(300.0)


class Steps:
    """Steps of 0.25 s on the script's clock."""

    def __init__(self, clock):
        self.clock, self.listed = clock, []

    def agreed(self, count):
        return count

    def run(self, count):
        for _ in range(count):
            start = self.clock.now_s
            self.clock.advance(0.25)
            self.listed.append(StepSpans(start_s=start, end_s=self.clock.now_s, phases=[]))

    def spans(self):
        return self.listed


@pytest.fixture
def on_script(monkeypatch, tmp_path):
    """A function of device keys that gives the energy of steps of 0.25 s on the script's clock."""

    def measure(guarded=lambda opener: opener(), **keys):
        scenario = Scenario([{**H100_SXM, **keys}], traces={0: [(0.0, 300.0, GIB, 0)]})
        clock = use_nvml(monkeypatch, build_nvml(tmp_path), scenario, tmp_path)
        meter = Meter(open_accelerator("cpu"), guarded(lambda: open_nvml(os.getpid())))

        steps = Steps(clock)
        window = measure_window(meter, steps, clock=lambda: clock.now_s, sleep=clock.advance)
        energy = settle(window, meter.target, [])
        clock.set(0.0)  # whoever hangs goes on
        meter.close()
        assert len(window.steps) == 10  # the cell went on to the window's end
        assert (energy.source, energy.reason.code) == ("none", "energy_unavailable")
        return energy

    return measure


@needs_compiler
def test_a_gpu_that_is_lost_in_the_window_leaves_a_reason(on_script):
    """Half a second of looking, then 2.4 of steps; the GPU is gone at two."""
    assert "lost" in on_script(lost_at=2.0).reason.text.lower()


@pytest.mark.full
@needs_compiler
def test_a_driver_that_hangs_costs_the_energy_and_not_the_cell(on_script):
    energy = on_script(lambda opener: WithTimeout(opener, timeout_s=1.0), hang_at=2.0)
    assert "did not answer within 1 s" in energy.reason.text


def test_no_library_no_figures_and_the_remedy():
    nothing = NoTelemetry("no driver", "install one")
    meter = Meter(open_accelerator("cpu"), nothing)
    assert meter.target.device is None
    assert meter.read().missing["energy_j"] == "no driver; install one"


class OfTorch:
    """An accelerator whose one device torch names by the UUID and the bus of the whole GPU."""

    visible = staticmethod(open_accelerator("cuda").visible)

    def torch_device(self):
        return torch.device("cuda", 0)

    def devices(self):
        uuid = str(H100_SXM["uuid"]).removeprefix("GPU-")
        return [Device(name="NVIDIA H100 80GB HBM3 MIG 1g.10gb", memory_bytes=10 * GIB, uuid=uuid,
                       pci_bus_id="0000:1b:00.0", driver=None, runtime="13.0")]  # fmt: skip


@needs_compiler
@pytest.mark.parametrize("asked", [0, 1, None])
def test_a_mig_instance_is_metered_and_not_its_gpu(asked, monkeypatch, tmp_path):
    """The GPU's counter has its neighbours' energy too. Without a word of the user's nobody knows
    which of two instances it is."""
    slices = [mig_slice(H100_SXM, device=0, index=index) for index in range(2)]
    use_nvml(monkeypatch, build_nvml(tmp_path), Scenario([H100_SXM, *slices]), tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if asked is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", slices[asked]["uuid"])
    meter = Meter(OfTorch(), open_nvml(os.getpid()))
    if asked is None:
        assert meter.target.device is None
        assert "2 devices have UUID" in meter.target.reason
    else:
        assert meter.target.device == slices[asked]["uuid"]
        assert "per MIG slice" in meter.read().missing["energy_j"]
    meter.close()
