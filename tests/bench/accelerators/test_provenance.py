"""Provenance of this process."""

import sys

from alignmeter.accelerators import open_accelerator
from alignmeter.accelerators.provenance import (
    collect,
    command_line,
    environment_digest,
    source_commit,
)


def test_provenance_names_versions_device_and_commit(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    monkeypatch.setenv("AWS_SECRET", "hidden")
    found = collect(*open_accelerator("cpu").devices(), 2)
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
    assert collect(*open_accelerator("cpu").devices(), None).command == command_line()
