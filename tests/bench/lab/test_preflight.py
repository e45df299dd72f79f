"""What a node has to be: each check on rows as `alignmeter devices --json` has them."""

from pathlib import Path

import psutil
import pytest
from made_records import make_record
from msgspec import structs

from alignmeter import session
from alignmeter.accelerators import inventory as inventories
from alignmeter.lab import preflight
from alignmeter.lab.preflight import required_accelerators, unmet
from alignmeter.records.record import Reason
from alignmeter.session.replicate import Finished
from alignmeter.telemetry.base import nothing_read
from alignmeter.units import GIB, MIB


def row(*, missing=None, chip="H100-SXM", library="NVML 13.6", **figures):
    """One CUDA device with these figures."""
    quiet = {"memory_used_bytes": 100 * MIB, "power_w": 80.0, "energy_j": 1.0, "throttles": ()}
    sample = dict.fromkeys(nothing_read("").__struct_fields__)
    sample |= {"missing": {}, **quiet, "temperature_c": 40.0, **figures}
    device = {"key": "0", "chip": chip, "torch": "cuda:0", "sample": sample}
    probe = {"available": bool(library), "library": library, "reason": "no NVML", "remedy": None}
    return {"accelerator": "cuda", "torch_missing": missing, "torch_devices": 1,
            "telemetry": probe, "devices": [device]}  # fmt: skip


@pytest.fixture
def here(monkeypatch):
    """A function that makes a machine have that row and nothing else."""

    def have(found):
        monkeypatch.setattr(preflight, "inventory", lambda _: found)

    return have


def asked(*names, chip=None, folder=Path()):
    return unmet(["cuda"], names, folder=folder, chip=chip)


def test_a_device_in_order_meets_all(here):
    here(row())
    assert asked("cuda", "nvml", "idle", "cool", "telemetry", "disk", chip="H100-SXM") == []


@pytest.mark.parametrize(
    ("library", "name"),
    [
        ("NVML 13.6", "nvml"),
        ("NVML", "nvml"),
        ("AMD SMI 26.0.2 (ROCm 7.0.2)", "amdsmi"),
        ("AMD SMI", "amdsmi"),
        ("Linux procfs, sysfs", "linux"),
        ("Linux 6.8.0, xe 1.1", "linux"),
    ],
)
def test_a_telemetry_library_is_known_by_the_word_that_vendors_use(here, library, name):
    here(row(library=library))
    assert asked(name) == []


@pytest.mark.parametrize(
    ("found", "name", "said"),
    [
        (row(missing="no driver"), "cuda", "cuda: no driver"),
        (row(memory_used_bytes=4 * GIB), "idle", "idle: 4 GiB of cuda:0 are in use"),
        (row(memory_used_bytes=None), "idle", "idle: nobody says how much memory of cuda"),
        (row(temperature_c=91.0), "cool", "cool: cuda:0 is at 91 °C"),
        (row(throttles=("idle", "thermal")), "cool", "cool: cuda:0 is slowed down (thermal)"),
        (row(power_w=None, energy_j=None), "telemetry", "telemetry: cuda:0 tells neither"),
        (row(library=""), "telemetry", "telemetry: no NVML"),
        (row(), "amdsmi", "amdsmi: no telemetry library of that name answers (here: NVML 13.6)"),
        (row(), "idel", "and it is no check; known: agreement, cool, disk, idle, telemetry"),
    ],
)
def test_what_is_wrong_is_one_sentence(here, found, name, said):
    here(found)
    (sentence,) = asked(name)
    assert said in sentence
    assert len(sentence) <= 300


def test_another_chip_is_refused(here):
    here(row())
    assert asked(chip="B200-SXM") == ["cuda:0 is H100-SXM, and not B200-SXM"]


def test_a_full_disk_is_refused(here, monkeypatch, tmp_path):
    here(row())
    usage = type("Usage", (), {"free": 10 * MIB})
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: usage)
    (sentence,) = asked("disk", folder=tmp_path / "not" / "yet")
    assert sentence.startswith(f"disk: {tmp_path} has 10 MiB left")


def test_a_busy_host_is_not_idle(monkeypatch):
    monkeypatch.setattr(psutil, "cpu_percent", lambda **_: 55.0)
    (sentence,) = unmet(["cpu"], ["idle"], folder=Path())
    assert sentence.startswith("idle: 55% of the host's cores are busy")


def test_without_an_accelerator_the_one_that_auto_takes_is_asked():
    assert required_accelerators(["idle"]) == ["cpu"]
    assert required_accelerators(["rocm", "idle"]) == ["rocm"]


def test_rows_are_those_of_the_command():
    found = inventories.inventory("cpu")
    assert found["torch_missing"] is None
    assert found["torch_devices"] == 1


@pytest.mark.full
def test_a_cell_that_is_measured_here_agrees_with_its_reference():
    assert unmet(["cpu"], ["agreement"], folder=Path()) == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (make_record(), "its losses differ"),
        (make_record(status="crashed", reason=Reason(code="worker_died", text="signal 9")),
         "is crashed: signal 9"),
    ],
    ids=["losses", "crash"],
)  # fmt: skip
def test_a_cell_that_does_not_agree_is_named(found, said, monkeypatch):
    differing = structs.replace(found.numerics, agrees=False, reason=None)
    record = structs.replace(found, numerics=differing)
    monkeypatch.setattr(session, "measure", lambda *_: Finished(record=record, timeline=None))
    (sentence,) = unmet(["cpu"], ["agreement"], folder=Path())
    assert sentence.startswith("agreement: ")
    assert said in sentence
