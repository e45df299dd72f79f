"""Energy windows, accelerators and provenance of this process."""

import sys

import pytest

from alignmeter.accelerators import available, missing_text, open_accelerator
from alignmeter.accelerators.provenance import (
    collect,
    command_line,
    environment_digest,
    source_commit,
)
from alignmeter.errors import InputError
from alignmeter.registry import ACCELERATORS, TELEMETRY, load


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


def test_unknown_accelerator_lists_the_known():
    with pytest.raises(InputError, match="known: cuda, rocm, xpu, cpu"):
        open_accelerator("tpu")


def test_telemetry_rows_open():
    for name in TELEMETRY:
        assert callable(load(TELEMETRY, name))


def test_provenance_names_versions_device_and_commit(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    monkeypatch.setenv("AWS_SECRET", "hidden")
    found = collect(open_accelerator("cpu"), 2)
    assert {"python", "torch", "transformers", "peft"} <= set(found.versions)
    assert found.environment["CUDA_VISIBLE_DEVICES"] == "7"
    assert "AWS_SECRET" not in found.environment
    assert found.threads == 2
    assert found.commit == source_commit()


def test_environment_digest_follows_threads_and_variables(monkeypatch):
    (device,) = open_accelerator("cpu").devices()
    before = environment_digest(device, 2)
    assert environment_digest(device, 2) == before != environment_digest(device, 1)
    monkeypatch.setenv("OMP_PROC_BIND", "close")
    assert environment_digest(device, 2) != before


def test_a_command_can_be_repeated_on_another_machine(monkeypatch):
    """The program by its name, whatever folder it stands in here; quoted as a shell needs it."""
    monkeypatch.setattr(sys, "argv", ["/home/me/venv/bin/alignmeter", "run", "--out", "a run"])
    assert command_line() == "alignmeter run --out 'a run'"
    assert command_line(["suites/x.py"]) == "alignmeter suites/x.py"
    assert collect(open_accelerator("cpu"), None).command == command_line()
