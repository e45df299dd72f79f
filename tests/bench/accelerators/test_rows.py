"""What each accelerator's file says of its devices, asked without torch and without devices."""

import dataclasses
import subprocess
import sys

import pytest
import torch

from alignmeter.accelerators import available, missing_text, open_accelerator
from alignmeter.accelerators.torch_build import torch_build
from alignmeter.errors import InputError
from alignmeter.registry import ACCELERATORS, PLAN_ACCELERATOR
from alignmeter.telemetry import open_telemetry
from alignmeter.telemetry.base import Identity
from alignmeter_kernels.chips import CHIPS

ONE_GPU = [("0", Identity(name="GPU", uuid="GPU-0", pci_bus_id="0000:01:00.0"))]


def test_the_cpu_is_always_here():
    assert available()[-1] == "cpu"
    assert missing_text("cpu") is None
    cpu = open_accelerator("cpu")
    (device,) = cpu.devices()
    assert device.name
    assert device.memory_bytes is not None
    assert device.memory_bytes > 2**28
    assert cpu.peaks(reset=True) is None
    assert "VRAM" not in cpu.memory_kind.upper()


@pytest.mark.parametrize("name", [n for n in ACCELERATORS if n != "cpu"])
def test_an_absent_device_says_what_is_here(name):
    text = missing_text(name)
    if text is None:
        pytest.skip(f"{name} is on this machine; its absence is tested where it is not")
    assert text.startswith(f"{name} is not on this machine")
    assert "here: cpu" in text
    assert open_accelerator(name).devices() == []


@pytest.mark.parametrize(("driver", "broken"), [("null", True), ("no-such-file", False)])
def test_a_fork_is_broken_only_where_there_is_a_driver(driver, broken, monkeypatch):
    """torch's CUDA build says it on a machine without one: CPU cells would all be spawned."""
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    nodes = {"device_nodes": (driver,), "context_nodes": ()}
    row = dataclasses.replace(open_accelerator("cuda"), build=lambda: "13.0", **nodes)
    assert row.broken_by_fork() == broken


def test_unknown_accelerator_lists_the_known():
    with pytest.raises(InputError, match="known: cuda, rocm, xpu, cpu"):
        open_accelerator("tpu")


@pytest.mark.parametrize("name", ACCELERATORS)
def test_telemetry_opens_by_the_accelerators_name(name):
    """Whatever is here: a library that answers, or the reason why none does."""
    telemetry = open_telemetry(name)
    probe = telemetry.probe()
    assert probe.available or probe.reason
    telemetry.close()


class Read(dict):
    """An environment that keeps which variables were asked for."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def get(self, name, default=None):
        self.names.add(name)
        return default

    def __contains__(self, name):
        self.names.add(name)
        return False


@pytest.mark.parametrize("name", ACCELERATORS)
def test_what_decides_on_visible_devices_is_told_by_name(name):
    row, environment = open_accelerator(name), Read()
    assert row.visible(environment, ONE_GPU).devices == ("0",)
    assert environment.names <= set(row.visible_variables)
    assert bool(environment.names) == bool(row.device_nodes)


@pytest.mark.parametrize("name", ACCELERATORS)
def test_facts_are_words_that_torch_and_the_kernels_know(name):
    row = open_accelerator(name)
    assert torch.device(row.device_type).type == row.device_type
    # A device whose kernels have no tiles is planned under its own name.
    assert row.planned_chip in {None, row.device_type, *CHIPS}
    assert (row.planned_chip is None) == (row.device_type == "cpu")


@pytest.mark.parametrize("toolkit", ["cuda", "hip", "xpu"])
def test_torchs_build_is_read_as_torch_has_it(toolkit):
    assert torch_build(toolkit) == getattr(torch.version, toolkit, None)


def test_plans_are_for_an_accelerator_that_there_is():
    assert PLAN_ACCELERATOR in ACCELERATORS


def test_facts_and_absence_are_told_without_torch():
    """`alignmeter devices` answers in a fifth of a second on a machine without a GPU."""
    code = (
        "import sys; from alignmeter.accelerators import open_accelerator; "
        "from alignmeter.registry import ACCELERATORS; "
        "print([open_accelerator(name).ruled_out() for name in ACCELERATORS]); "
        "print(sorted({'torch', 'transformers', 'amdsmi', 'pynvml'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
