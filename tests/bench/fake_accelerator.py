"""An accelerator whose device is the host's CPU, and that must not be opened in one process.

Processes import this module by its name: that of the test has this folder on its path, those that
are started get it from PYTHONPATH.
"""

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

from alignmeter.accelerators.cpu import CPU, Cpu
from alignmeter.records.record import VRAM
from alignmeter.registry import ACCELERATORS, AcceleratorRow
from alignmeter.worker.serve import serve

_KEPT_OUT = "FAKE_ACCELERATOR_KEPT_OUT"
_FAULT = "FAKE_ACCELERATOR_FAULT"
NAME = "fake"
ROW = AcceleratorRow(path="fake_accelerator:FAKE", precision="fp32", adapter_precision="fp32")


@dataclass(frozen=True, kw_only=True)
class Fake(Cpu):
    """A CPU with VRAM and a device file that no process has open."""

    def missing(self):
        _opened()
        return

    def devices(self):
        _opened()
        return super().devices()

    def torch_device(self):
        _opened()
        return super().torch_device()


FAKE = Fake(
    **{field: getattr(CPU, field) for field in CPU.__dataclass_fields__}
    | {"name": NAME, "memory_kind": VRAM, "device_nodes": ("full",)}
)

OPEN_EVERYWHERE = replace(FAKE, device_nodes=("null",))


def _opened():
    if os.environ.get(_KEPT_OUT) == str(os.getpid()):
        raise AssertionError("the device was opened in the process that drives workers")
    fault = os.environ.get(_FAULT)
    if fault == "hang":
        time.sleep(60)
    if fault == "crash":
        raise RuntimeError("the driver said no")


def install(monkeypatch, fault=None):
    """A row of the registry, here and in the processes that this one starts to ask for devices."""
    monkeypatch.setitem(ACCELERATORS, NAME, ROW)
    monkeypatch.setenv(_KEPT_OUT, str(os.getpid()))
    folders = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, folders)))
    if fault is not None:
        monkeypatch.setenv(_FAULT, fault)


def serve_with_it(*arguments):
    """`serve`, in a worker whose registry has the row."""
    ACCELERATORS[NAME] = ROW
    serve(*arguments)
