"""Drivers' device files: which are there, and which a process has open."""

import os

import pytest

from alignmeter.accelerators import open_accelerator
from alignmeter.registry import ACCELERATORS
from alignmeter.telemetry.device_nodes import device_nodes, open_device_nodes

# What the runtimes open, so what a process holds that has initialised them. WSL: dxg.
OPENED = [
    ("cuda", "/dev/nvidia0"),
    ("cuda", "/dev/nvidiactl"),
    ("cuda", "/dev/nvidia-uvm"),
    ("cuda", "/dev/nvidia-caps/nvidia-cap12"),
    ("cuda", "/dev/dxg"),
    ("rocm", "/dev/kfd"),
    ("rocm", "/dev/dxg"),
    ("xpu", "/dev/dri/renderD128"),
    ("xpu", "/dev/accel/accel0"),
    ("xpu", "/dev/dxg"),
]


def process_with(tmp_path, *opened):
    """A folder as procfs with process 7 in it, which has these files open."""
    handles = tmp_path / "7" / "fd"
    handles.mkdir(parents=True)
    for number, name in enumerate(opened):
        (handles / str(number)).symlink_to(name)
    return tmp_path


@pytest.mark.parametrize(("name", "node"), OPENED)
def test_a_device_that_is_open_is_seen(tmp_path, name, node):
    proc = process_with(tmp_path, "/dev/null", node, "socket:[1]", "/dev/nothing")
    assert open_device_nodes(7, open_accelerator(name).device_nodes, proc) == [node]


def test_what_every_process_has_open_is_no_device(tmp_path):
    proc = process_with(tmp_path, "/dev/null", "/dev/urandom", "/dev/pts/0", "/dev/zero", "/a")
    for name in ACCELERATORS:
        assert open_device_nodes(7, open_accelerator(name).device_nodes, proc) == []


def test_a_process_that_is_gone_has_nothing_open(tmp_path):
    assert open_device_nodes(7, ("null",), tmp_path) == []


def test_a_real_process_is_read():
    handle = os.open(os.devnull, os.O_RDONLY)
    assert open_device_nodes(os.getpid(), ("nul*", "full")) == ["/dev/null"]
    os.close(handle)


def test_nodes_are_found_below_their_folder(tmp_path):
    (tmp_path / "dri").mkdir()
    for name in ("nvidia0", "nvidiactl", "null", "dri/renderD128", "dri/card0"):
        (tmp_path / name).touch()
    assert device_nodes(("nvidia*", "nvidia0"), tmp_path) == [
        tmp_path / "nvidia0",
        tmp_path / "nvidiactl",
    ]
    assert device_nodes(("dri/renderD*",), tmp_path) == [tmp_path / "dri" / "renderD128"]
    assert device_nodes((), tmp_path) == []
