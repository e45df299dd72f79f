"""Whether telemetry can be believed and what it costs: ``tox -e telemetry`` prints the figures.

No hardware: the vendors' own clients read C stubs of their libraries, so that the truth is known.
A real driver takes longer to answer than a stub does.
"""

import os
import sys

import pytest
from amd_stub import MI300X, AmdMachine, build_amd, why_not
from nvml_stub import H100_SXM, build_nvml, environment, use_nvml
from stub_libraries import NO_COMPILER, Clock, Scenario, compiler, square_wave
from telemetry_figures import (
    HIGH_W,
    LOW_W,
    SHARE,
    devices_start_s,
    energy_errors,
    ratio_interval,
    sampler_cost,
    steps_beside_sampler,
    workload,
)

from alignmeter.telemetry.nvidia.nvml import open_nvml

STEPS_MS = (50, 100, 110, 137, 390, 400)
TICKS_MS = (20, 100)
ENERGY = [(step, tick) for step in STEPS_MS for tick in TICKS_MS]
WINDOWS = 60
SAMPLERS = ("nvml", "amdsmi", "linux")
PAIRS, STEPS_A_SIDE = 40, 12


@pytest.fixture(autouse=True)
def only_when_asked(request):
    if not request.config.getoption("--benchmark"):
        pytest.skip("measures telemetry; run it with tox -e telemetry")


@pytest.fixture
def say(capsys):
    """Print a line of figures, whatever pytest captures."""

    def print_line(text):
        with capsys.disabled():
            sys.stdout.write(f"\n{text}")

    return print_line


@pytest.fixture(scope="session")
def nvml(tmp_path_factory):
    if compiler() is None:
        pytest.skip(NO_COMPILER)
    return build_nvml(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def device_of(request, monkeypatch, tmp_path):
    """(accelerator, device) of a sampler's library, which its process then finds."""

    def prepare(library):
        if library == "linux":
            return "cpu", "cpu"
        if library == "amdsmi":
            if (reason := why_not()) is not None:
                pytest.skip(reason)
            machine = AmdMachine(build_amd(tmp_path / "rocm"), tmp_path, monkeypatch)
            monkeypatch.delenv("STUB_CLOCK")
            with machine:
                return "rocm", machine.open(MI300X).devices()[0]
        scenario = Scenario([H100_SXM]).write(tmp_path / "scenario")
        found = environment(request.getfixturevalue("nvml"), scenario, Clock(tmp_path / "clock"))
        del found["STUB_CLOCK"]
        for name in ("LD_LIBRARY_PATH", "STUB_SCENARIO"):
            monkeypatch.setenv(name, found[name])
        return "cuda", H100_SXM["uuid"]

    return prepare


@pytest.mark.parametrize(("step", "tick"), ENERGY, ids=lambda ms: f"{ms}ms")
def bench_energy_error(benchmark, monkeypatch, tmp_path, nvml, say, step, tick):
    """A square wave of 600 and 200 W; one step is one period."""
    trace = square_wave(step / 1e3, high_w=HIGH_W, low_w=LOW_W, share=SHARE, until_s=30.0)
    device = {**H100_SXM, "energy_tick_s": tick / 1e3}
    clock = use_nvml(monkeypatch, nvml, Scenario([device], traces={0: trace}), tmp_path)
    telemetry = open_nvml(os.getpid())
    found = benchmark.pedantic(
        energy_errors, args=(telemetry, clock, step / 1e3, WINDOWS), rounds=1, iterations=1
    )
    telemetry.close()
    benchmark.extra_info.update(vars(found))
    say(
        f"step {step:>3} ms, tick {tick:>3} ms, {found.windows} windows: counter off by at most "
        f"{found.counter:.2f} %, bound {found.bound:.2f} % held the truth {found.held} times; "
        f"polling alone {found.polled:.1f} %; at most {found.cost_s:.1f} s"
    )
    if found.held < found.windows:
        pytest.fail("the bound of a window did not hold the truth")


@pytest.mark.parametrize("library", SAMPLERS)
def bench_sampler_cost(benchmark, device_of, say, library):
    accelerator, device = device_of(library)
    found = benchmark.pedantic(
        sampler_cost, args=(accelerator, device), kwargs={"hz": 20.0, "seconds": 20.0}, rounds=1
    )
    if found.failure is not None:
        pytest.fail(": ".join(found.failure))
    length = found.samples[-1].monotonic_s - found.samples[0].monotonic_s
    share = found.cpu_s / length
    benchmark.extra_info.update(share=share, samples=len(found.samples))
    say(
        f"sampler on {library} at 20 Hz: {100 * share:.2f} % of a core, start "
        f"{1e3 * found.start_cpu_s:.0f} ms, {len(found.samples)} samples in {length:.1f} s"
    )


@pytest.mark.parametrize("library", SAMPLERS)
def bench_step_beside_sampler(benchmark, device_of, say, library):
    """A DPO step that takes more than 50 ms."""
    accelerator, device = device_of(library)
    load = workload(method="dpo", architecture="llama", seq_len=128, kernels="stock")
    pairs = benchmark.pedantic(
        steps_beside_sampler,
        args=(load, accelerator, device),
        kwargs={"pairs": PAIRS, "steps": STEPS_A_SIDE},
        rounds=1,
    )
    ratio, low, high = ratio_interval(pairs)
    benchmark.extra_info.update(ratio=ratio, low=low, high=high, pairs=len(pairs))
    say(
        f"a step of {1e3 * pairs[0][1]:.0f} ms beside a sampler on {library}: "
        f"{ratio:.4f} of its time, 95 % [{low:.4f}, {high:.4f}], {len(pairs)} pairs"
    )


def bench_devices_start(benchmark, say):
    benchmark.pedantic(devices_start_s, rounds=7, iterations=1, warmup_rounds=1)
    say(f"alignmeter devices: {benchmark.stats.stats.median:.2f} s, median of 7")
