"""Devices are looked for in a process of its own: the one that drives workers opens none."""

from dataclasses import replace

import fake_accelerator
import pytest
from nvml_stub import H200, build_nvml, use_nvml
from stub_libraries import NO_COMPILER, Scenario, compiler

from alignmeter import accelerators
from alignmeter.accelerators import available, device_or_host, missing_text, passed_over
from alignmeter.accelerators import device_query as module
from alignmeter.accelerators.cpu import CPU
from alignmeter.accelerators.cuda import CUDA
from alignmeter.accelerators.device_query import query
from alignmeter.cells.matrix import read_matrix
from alignmeter.registry import ACCELERATORS
from alignmeter.session import resolve


@pytest.fixture(autouse=True)
def asked_anew():
    query.cache_clear()
    yield
    query.cache_clear()


def test_another_process_opens_the_device(monkeypatch):
    fake_accelerator.install(monkeypatch)
    found = query("fake")
    assert found.missing is None
    assert list(found.devices) == CPU.devices()
    with pytest.raises(AssertionError, match="was opened"):
        fake_accelerator.FAKE.devices()


def test_auto_and_absence_ask_there_too(monkeypatch):
    fake_accelerator.install(monkeypatch)
    assert "fake" in available()
    assert missing_text("fake") is None
    assert device_or_host("fake") == CPU.devices()[0]


def test_nobody_is_asked_where_the_driver_has_no_files(monkeypatch):
    def started(_):
        pytest.fail("a process was started")

    monkeypatch.setattr(module, "_asked", started)
    monkeypatch.setattr("alignmeter.accelerators.gpu.device_nodes", lambda _: [])
    for name in ACCELERATORS:
        assert (query(name).missing is None) == (name == "cpu")
        assert device_or_host(name) == CPU.devices()[0]


def test_a_build_without_a_driver_says_which_files_are_not_there(monkeypatch):
    monkeypatch.setattr("alignmeter.accelerators.torch_build._version", lambda: {"xpu": "2025.3"})
    monkeypatch.setattr("alignmeter.accelerators.gpu.device_nodes", lambda _: [])
    text = missing_text("xpu")
    assert "there is no /dev/dri/renderD*, /dev/accel/accel*, /dev/dxg; load the driver" in text


def test_a_process_that_fails_is_a_reason(monkeypatch):
    fake_accelerator.install(monkeypatch, "crash")
    text = missing_text("fake")
    assert "looking for devices ended with status 1: RuntimeError: the driver said no" in text
    assert device_or_host("fake") == CPU.devices()[0]


def test_a_process_that_hangs_is_a_reason(monkeypatch):
    fake_accelerator.install(monkeypatch, "hang")
    monkeypatch.setattr(module, "_TIMEOUT_S", 1.0)
    assert "did not find its devices within 1 s" in query("fake").missing


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"CUDA_VISIBLE_DEVICES": "-1"}, "CUDA_VISIBLE_DEVICES=-1 leaves none, or the driver"),
        ({}, "check the driver"),
    ],
)
def test_a_device_that_torch_does_not_see_is_told_with_the_variables_that_may_hide_it(
    variables, said, monkeypatch
):
    for name in CUDA.visible_variables:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("alignmeter.accelerators.gpu.device_nodes", lambda _: ["nvidia0"])
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    missing = replace(CUDA, build=lambda: "13.0").missing()
    assert missing.startswith("torch sees no such device")
    assert said in missing


@pytest.mark.skipif(compiler() is None, reason=NO_COMPILER)
def test_a_gpu_that_auto_passes_over_is_told(monkeypatch, tmp_path):
    """A torch for the CPU beside an H200: a run on the CPU that looks like what was meant."""
    monkeypatch.setattr("alignmeter.accelerators.torch_build._version", dict)
    monkeypatch.setattr(accelerators, "device_nodes", lambda _: [])
    assert passed_over("cpu") == []
    use_nvml(monkeypatch, build_nvml(tmp_path), Scenario([H200]), tmp_path)
    monkeypatch.setattr(accelerators, "device_nodes", lambda _: ["a file of the driver"])
    assert passed_over("cpu") == [
        "NVIDIA H200 is here and not used: this torch has no cuda build; install torch from PyPI "
        "(its Linux wheels carry CUDA); cells run on cpu"
    ]
    assert passed_over("cuda") == []


def test_whoever_leaves_the_accelerator_to_auto_is_told(monkeypatch):
    monkeypatch.setattr(resolve, "passed_over", lambda chosen: [f"passed over for {chosen}"])
    for axes, expected in (({}, 1), ({"accelerator": ("cpu",)}, 0)):
        said = []
        resolve.plan_matrix(read_matrix("quick"), axes, said.append)
        assert sum("passed over for" in sentence for sentence in said) == expected
