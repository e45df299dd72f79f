"""Devices are looked for in a process of its own: the one that drives workers opens none."""

import fake_accelerator
import pytest

from alignmeter.accelerators import available, device_or_host, missing_text
from alignmeter.accelerators import device_query as module
from alignmeter.accelerators.cpu import CPU
from alignmeter.accelerators.device_query import query
from alignmeter.registry import ACCELERATORS


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
