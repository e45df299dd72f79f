"""zeus, another energy monitor, reads the same scripted devices: both say what the script says."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("zeus", reason="another energy monitor; run it with tox -e zeus")

from amd_stub import MI300X, build_amd, why_not
from nvml_stub import H100_SXM, H200, build_nvml
from nvml_stub import environment as nvml_environment
from stub_libraries import NO_COMPILER, Clock, Scenario, compiler

pytestmark = pytest.mark.skipif(compiler() is None, reason=NO_COMPILER)

# 100 W, then 400 W for a second, then 100 W: from 0.5 to 2.5 s that is 50 + 400 + 50 J.
TRACE = [(0.0, 100.0, 2**30, 0), (1.0, 400.0, 2**30, 0), (2.0, 100.0, 2**30, 0)]
TRUTH_J = 500.0
BOTH = """
import json, mmap, os, struct, sys, time

if "STUB_CLOCK" in os.environ:
    with open(os.environ["STUB_CLOCK"], "r+b") as file:
        page = mmap.mmap(file.fileno(), 8)

def at(seconds):
    page[:8] = struct.pack("<Q", round(seconds * 1e9))

def wait():
    time.sleep(2.0) if "STUB_CLOCK" not in os.environ else at(2.5)

if "STUB_CLOCK" in os.environ:
    at(0.5)
from zeus.monitor import ZeusMonitor
from alignmeter.telemetry import open_telemetry

index = int(sys.argv[2])
monitor = ZeusMonitor(gpu_indices=[index], cpu_indices=[], approx_instant_energy=False)
telemetry = open_telemetry(sys.argv[1])
device = telemetry.devices()[index]
monitor.begin_window("step", sync_execution=False)
first = telemetry.read(device).energy_j
wait()
last = telemetry.read(device).energy_j
theirs = monitor.end_window("step", sync_execution=False).gpu_energy[index]
print(json.dumps({"ours": last - first, "theirs": theirs}))
"""


def both(accelerator, index, environment):
    done = subprocess.run(
        [sys.executable, "-P", "-c", BOTH, accelerator, str(index)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("index", [0, 1])
def test_nvidia(tmp_path, index):
    library = build_nvml(tmp_path)
    traces = {index: TRACE, 1 - index: [(0.0, 300.0, 2**30, 0)]}
    scenario = Scenario([H100_SXM, H200], traces=traces).write(tmp_path / "scenario")
    clock = Clock(tmp_path / "clock")
    found = both("cuda", index, nvml_environment(library, scenario, clock))
    assert found["ours"] == pytest.approx(TRUTH_J, abs=0.001)  # the counter counts mJ
    assert found["theirs"] == pytest.approx(found["ours"], abs=0.002)


@pytest.mark.skipif(why_not() is not None, reason=why_not() or "")
def test_amd(tmp_path):
    """In real time: zeus first tries the counter against half a second of power.

    Both read within ms of each other, so they differ by a tick of 20 ms at each end at most, and by
    the unit: zeus takes the 15.3 uJ that the library states for 2**-16 J, 0.27 % too much.
    """
    rocm = build_amd(tmp_path / "rocm")
    traces = {0: [(0.0, 250.0, 2**30, 0)]}
    scenario = Scenario([MI300X], traces=traces).write(tmp_path / "scenario")
    environment = {
        **{k: v for k, v in os.environ.items() if k not in ("ROCM_HOME", "STUB_CLOCK")},
        "ROCM_PATH": str(rocm),
        "STUB_SCENARIO": str(scenario),
    }
    found = both("rocm", 0, environment)
    assert found["ours"] == pytest.approx(500.0, rel=0.1)  # 250 W for 2 s, plus a slow host
    assert found["theirs"] == pytest.approx(found["ours"] * 15.3 / (2**-16 * 1e6), abs=10.0)
