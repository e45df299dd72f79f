"""`alignmeter devices` beside scripted GPUs, and on a machine without any."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from nvml_stub import H100_PCIE, H100_SXM, build_nvml, environment
from stub_libraries import NO_COMPILER, Clock, Scenario, compiler

from alignmeter.accelerators import open_accelerator
from alignmeter.registry import ACCELERATORS
from alignmeter.telemetry.device_nodes import device_nodes

COMMAND = Path(sys.executable).with_name("alignmeter")
needs_compiler = pytest.mark.skipif(compiler() is None, reason=NO_COMPILER)


def devices(*arguments, env=None):
    done = subprocess.run(
        [COMMAND, "devices", *arguments], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def gpus(tmp_path):
    """A function of devices that gives an environment with them."""

    def make(*found, **variables):
        scenario = Scenario(list(found)).write(tmp_path / "scenario")
        base = environment(build_nvml(tmp_path), scenario, Clock(tmp_path / "clock"))
        return {k: v for k, v in base.items() if k != "CUDA_VISIBLE_DEVICES"} | variables

    return make


def test_a_machine_as_it_is_fits_80_columns_and_names_each_accelerator():
    said = devices()
    assert re.findall(r"^(\w+) ", said, re.MULTILINE) == ["cuda", "rocm", "xpu", "cpu"]
    assert max(map(len, said.splitlines())) <= 80


@needs_compiler
def test_a_scripted_gpu_is_told_whole(gpus):
    said = devices(env=gpus(H100_SXM))
    for part in (
        "NVIDIA H100 80GB HBM3, 79.6 GiB",
        "SXM, GPU-11111111-aaaa-bbbb-cccc-000000000001, 0000:1b:00.0",
        "gpu counter, instant power, cap 700 W",
        "1 GiB in use, 100 W",
        "as H100-SXM",
        "cannot be used this torch has no cuda build",
    ):
        assert part in " ".join(said.split())
    assert max(map(len, said.splitlines())) <= 80


@needs_compiler
def test_json_has_every_figure_and_how_torch_numbers_the_devices(gpus):
    env = gpus(H100_SXM, H100_PCIE, CUDA_VISIBLE_DEVICES=f"{H100_PCIE['uuid']}")
    rows = {row["accelerator"]: row for row in json.loads(devices("--json", env=env))}
    first, second = rows["cuda"]["devices"]
    assert (first["torch"], second["torch"]) == (
        "hidden by the visible-devices variables",
        "cuda:0",
    )
    assert (first["chip"], second["chip"]) == ("H100-SXM", "H100-PCIe")
    assert first["sample"]["memory_used_bytes"] == 2**30
    assert first["capabilities"]["energy_scope"] == "gpu"
    assert rows["cuda"]["telemetry"]["library"].startswith("NVML")
    assert rows["cuda"]["torch_missing"].startswith("this torch has no cuda build")
    assert rows["rocm"]["devices"] == []


@needs_compiler
def test_a_gpu_in_mig_mode_is_none_of_torch_s_devices(gpus):
    env = gpus(H100_SXM | {"mig": 1}, H100_PCIE)
    rows = {row["accelerator"]: row for row in json.loads(devices("--json", env=env))}
    whole, other = (device["torch"] for device in rows["cuda"]["devices"])
    assert whole == "none: it is in slices, and each of them is a device"
    assert other == "cuda:0"


@pytest.mark.full
@needs_compiler
def test_a_driver_that_hangs_does_not_hang_the_command(gpus):
    env = gpus({**H100_SXM, "hang_at": 0.0})
    start = time.monotonic()
    said = " ".join(devices(env=env).split())
    assert "cuda missing: the driver did not answer within 5 s" in said
    assert "cpu " in said
    assert time.monotonic() - start < 60


def test_without_a_gpu_torch_is_not_imported():
    code = (
        "import sys; from alignmeter.cli import cli; "
        "cli.main(['devices'], standalone_mode=False); "
        "print('torch' in sys.modules)"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=env, capture_output=True, text=True, check=True
    )
    if any(device_nodes(open_accelerator(name).device_nodes) for name in ACCELERATORS):
        pytest.skip("a GPU is here, so torch is asked; tested where there is none")
    assert done.stdout.splitlines()[-1] == "False"
