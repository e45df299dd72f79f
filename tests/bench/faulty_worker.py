"""A worker with a fault: it serves like any other until one place is reached.

Workers import this module by its name.
"""

import contextlib
import ctypes
import dataclasses
import itertools
import math
import os
import resource
import signal
import struct
import time
from pathlib import Path

from alignmeter.worker.serve import serve


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def hang():
    os.kill(os.getpid(), signal.SIGSTOP)


def use_up_memory():
    """From now on nothing can be allocated."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    in_use = pages * os.sysconf("SC_PAGESIZE")
    resource.setrlimit(resource.RLIMIT_AS, (in_use, in_use))


def lose_driver():
    raise RuntimeError("CUDA error: unspecified launch failure: the GPU has fallen off the bus")


def in_phase(name, fault):
    """``fault`` when a step enters that phase."""
    from alignmeter.worker.phases import PhaseClock

    plain = PhaseClock.phase

    @contextlib.contextmanager
    def phase(self, entered):
        with plain(self, entered):
            if entered == name:
                fault()
            yield

    PhaseClock.phase = phase


def on_rank(rank, name, fault):
    """The same of that rank alone."""
    import torch.distributed as dist

    def alone():
        if dist.is_initialized() and dist.get_rank() == rank:
            fault()

    in_phase(name, alone)


def out_of_memory():
    raise MemoryError("a rank's own")


def at_verb(name, fault):
    """``fault`` when the parent asks for that: ``build``, ``agreement``, ``memory_step``..."""
    from alignmeter.worker.workload import Workload

    plain = getattr(Workload, name)

    def verb(self, *arguments):
        fault()
        return plain(self, *arguments)

    setattr(Workload, name, verb)


def spoil_weights():
    """The first timed step computes with weights that are no numbers."""
    from alignmeter.worker.workload import Workload

    plain = Workload.begin_timed

    def begin_timed(self):
        next(self.step_object.models()["policy"].parameters()).data.fill_(math.nan)
        plain(self)

    Workload.begin_timed = begin_timed


def step_clock_back():
    """Each look at the wall clock finds it 100 s earlier."""
    steps = itertools.count(10**9, -100)
    time.time = lambda: next(steps)


def lose_device(library, scenario, clock, lost_at_s):
    """The CPU's telemetry is NVML's, from a stub of its library; the first step of the energy
    window sets the stub's clock to when its device is lost.
    """
    import pynvml

    from alignmeter.accelerators import cpu
    from alignmeter.telemetry.nvidia.nvml import open_nvml
    from alignmeter.worker.queued import QueuedSteps

    os.environ |= {"STUB_SCENARIO": scenario, "STUB_CLOCK": clock}
    pynvml.nvmlLib = ctypes.CDLL(library)
    cpu.CPU = dataclasses.replace(cpu.CPU, open_telemetry=open_nvml)
    plain = QueuedSteps.run

    def run(self, count):
        with Path(clock).open("r+b") as file:
            file.write(struct.pack("<Q", lost_at_s * 10**9))
        return plain(self, count)

    QueuedSteps.run = run


def serve_with(*given, arrange, arguments):
    """`serve`, after ``arrange(*arguments)`` in the worker."""
    arrange(*arguments)
    serve(*given)
