"""What `torch._C` of a build for CUDA, ROCm or XPU has, on top of the library of ``device.cpp``.

torch's own Python (``torch.cuda``, ``torch.xpu``) runs unchanged above it: lazy initialisation, the
look through NVML, statistics, events, streams. Here are the entry points that it finds missing in a
build for the CPU, with what a driver does to a process: it keeps device files open, and a child
that was forked after it was initialised cannot use it.
"""

import ctypes
import os
import time
import traceback
from pathlib import Path

MIB = 2**20
_STATISTICS = ("allocated", "reserved", "requested")


class Driver:
    """The driver's state in this process."""

    def __init__(self, library, nodes):
        """``nodes``: the device files that it keeps open once it is initialised."""
        self.library, self._nodes = library, nodes
        library.pretend_statistic.restype = ctypes.c_size_t
        self.initialised = self.poisoned = False
        self.pending = []
        """Events recorded since the device was waited for."""
        self._opened = []
        os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self):
        self.poisoned = self.poisoned or self.initialised

    def initialise(self):
        """As ``cuInit``: forks of this process are of no use from now on.

        PRETEND_TRACE names a file that gets a line for it.
        """
        if self.initialised:
            return
        self.initialised = True
        self._opened = [os.open(node, os.O_RDONLY) for node in self._nodes]
        if trace := os.environ.get("PRETEND_TRACE"):
            frames = [
                frame for frame in traceback.extract_stack() if "importlib" not in frame.filename
            ]
            callers = " < ".join(f"{f.name} {f.filename}:{f.lineno}" for f in frames[-2:-7:-1])
            with Path(trace).open("a") as file:
                file.write(f"{os.getpid()} of {os.getppid()}: {callers}\n")

    def statistic(self, which):
        return int(self.library.pretend_statistic(which))

    def wait(self):
        for event in self.pending:
            event.done = True
        self.pending.clear()

    def statistics(self):
        """As torch's C++ nests them; ``active`` is what is allocated: one stream only."""
        found = {}
        for number, name in enumerate((*_STATISTICS, "active")):
            place = 2 * (number % len(_STATISTICS))
            figures = {"current": self.statistic(place), "peak": self.statistic(place + 1)}
            found[f"{name}_bytes"] = {"all": figures}
        return found


PROPERTIES = {
    "cuda": {
        "name": "NVIDIA H200", "uuid": "33333333-aaaa-bbbb-cccc-000000000003", "pci_domain_id": 0,
        "pci_bus_id": 0x5D, "pci_device_id": 0, "major": 9, "minor": 0, "warp_size": 32,
        "multi_processor_count": 132, "L2_cache_size": 60 * MIB, "gcnArchName": "",
    },
    "rocm": {
        "name": "AMD Instinct MI300X", "uuid": "35376333-6131-6232-6434-653566363037",
        "pci_domain_id": 0, "pci_bus_id": 0x0C, "pci_device_id": 0, "major": 9, "minor": 4,
        "warp_size": 64, "multi_processor_count": 304, "L2_cache_size": 4 * MIB,
        "gcnArchName": "gfx942:sramecc+:xnack-",
    },
    "xpu": {
        "name": "Intel(R) Data Center GPU Max 1550", "uuid": "8680e00b-2f00-0000-4d00-000000000000",
        "max_compute_units": 1024, "driver_version": "1.6.33578", "has_fp64": True,
        "has_bfloat16_conversions": True,
    },
}  # fmt: skip
"""Of the one device of each kind, as the vendors' stubs have it too."""
_UNUSED = {
    "_cuda": ("_graph_pool_handle", "_CUDAGraph"),
    "_xpu": (
        "_xpu_graph_pool_handle", "_XPUGraph", "_xpu_XPUAllocator", "_XPUMemPool",
        "_xpu_beginAllocateCurrentThreadToPool", "_xpu_endAllocateToPool", "_xpu_releasePool",
    ),
}  # fmt: skip
"""Names that torch's modules import; no graph is captured here, and no pool is made."""


class Named:
    """Attributes by name; hashable, since torch._dynamo makes keys of what torch._C holds."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class Stream:
    """The only one. ``code`` is c10's number of the device type."""

    code, device_type_name, driver = 1, "cuda", None

    def __new__(cls, *_, **__):
        made = super().__new__(cls)
        made.stream_id, made.device_index, made.device_type = 0, 0, cls.code
        made.cuda_stream = made.sycl_queue = 0
        return made

    def __init__(self, *_, **__):
        pass

    @property
    def device(self):
        import torch

        return torch.device(self.device_type_name, 0)

    def query(self):
        return not self.driver.pending

    def synchronize(self):
        self.driver.wait()


class Event:
    """Refuses to be read before the device was waited for, as the drivers' events do."""

    driver = None

    def __new__(cls, enable_timing=False, **_):
        cls.driver.initialise()
        made = super().__new__(cls)
        made.timing, made.at, made.done = enable_timing, None, False
        made.cuda_event = made.sycl_event = 0
        return made

    def __init__(self, *_, **__):
        pass

    def record(self, _=None):
        self.at, self.done = time.perf_counter(), False
        self.driver.pending.append(self)

    def synchronize(self):
        self.done = True

    def query(self):
        return self.done

    def wait(self, _=None):
        pass

    def elapsed_time(self, end):
        if not (self.timing and end.timing):
            raise ValueError("both events must be created with enable_timing=True")
        if self.at is None or end.at is None:
            raise ValueError("both events must be recorded before elapsed time is calculated")
        if not (self.done and end.done):
            raise RuntimeError("CUDA error: device not ready")
        return (end.at - self.at) * 1e3


class DefaultGenerator:
    """The device's own generator, as `torch.manual_seed` knows it. Its state is not kept."""

    def __init__(self, library):
        self._library, self._seed = library, 0

    def manual_seed(self, seed):
        self._seed = seed
        self._library.pretend_seed(ctypes.c_ulonglong(seed % 2**64))
        return self

    def initial_seed(self):
        return self._seed

    def get_state(self):
        import torch

        return torch.zeros(16, dtype=torch.uint8)

    def set_state(self, state):
        pass


def install(core, library, kind, nodes):
    """Give ``torch._C`` (``core``) the entry points of a build for ``kind``."""
    driver = Driver(library, nodes)
    prefix, family = ("_xpu", "Xpu") if kind == "xpu" else ("_cuda", "Cuda")
    stream = type("_StreamBase", (Stream,), {"driver": driver})
    if kind == "xpu":
        stream.code, stream.device_type_name = 12, "xpu"
    found = {f"{prefix}_{name}": entry for name, entry in _entries(driver, kind).items()}
    found |= {
        f"_{family}DeviceProperties": Named,
        f"_{family}StreamBase": stream,
        f"_{family}EventBase": type("_EventBase", (Event,), {"driver": driver}),
    }
    found |= {name: type(name, (), {}) for name in _UNUSED[prefix]}
    if kind != "xpu":
        found["_cudart"] = Named(
            cudaMemGetInfo=found["_cuda_getMemoryInfo"],
            cudaError=lambda code: code,
            cudaGetErrorString=str,
        )
    found["_has_xpu" if kind == "xpu" else "_has_cuda"] = True
    for name, entry in found.items():
        setattr(core, name, entry)


def _entries(driver, kind):
    """Without their prefix. No ctypes functions: those have no hash."""
    library, code = driver.library, 12 if kind == "xpu" else 1
    stream = (0, 0, code)

    def memory_info(_=0):
        total = driver.statistic(6)
        return total - driver.statistic(7), total

    return {
        "getDeviceCount": lambda: _count(driver, kind),
        "init": lambda: _init(driver, kind),
        "isInBadFork": lambda: driver.poisoned,
        "getDevice": lambda: 0,
        "setDevice": lambda _: None,
        "exchangeDevice": lambda _: 0,
        "maybeExchangeDevice": lambda _: 0,
        "synchronize": lambda _=0: driver.wait(),
        "getCurrentStream": lambda _=0: stream,
        "getDefaultStream": lambda _=0: stream,
        "getCurrentRawStream": lambda _=0: 0,
        "setStream": lambda *_, **__: None,
        "isCurrentStreamCapturing": lambda: False,
        "hasPrimaryContext": lambda _: driver.initialised,
        "memoryStats": lambda _=0: driver.statistics(),
        "resetPeakMemoryStats": lambda _=0: library.pretend_reset_peaks(),
        "resetAccumulatedMemoryStats": lambda _=0: None,
        "emptyCache": lambda: library.pretend_empty_cache(),
        "sleep": lambda _: None,
        "clearCublasWorkspaces": lambda: library.pretend_clear_workspaces(),
        "getArchFlags": lambda: "sm_90",
        "getMemoryInfo": memory_info,
    }


def _count(driver, kind):
    """Asking for devices initialises the driver; a fork of such a process sees none, and neither
    does one from which the variables hide device 0.
    """
    driver.initialise()
    return 0 if driver.poisoned or _hidden(kind) else 1


_MASKS = {
    "cuda": ("CUDA_VISIBLE_DEVICES",),
    "rocm": ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"),
    "xpu": ("ZE_AFFINITY_MASK",),
}


def _hidden(kind):
    """Whether a variable names neither device 0 nor a UUID of it first."""
    uuids = {"cuda": "GPU-33333333", "rocm": "GPU-57c3a1b2"}
    asked = [os.environ[name].strip() for name in _MASKS[kind] if name in os.environ]
    named = ("0", uuids.get(kind, "0"))
    return any(not text.startswith(named) for text in asked if text or kind != "xpu")


def _init(driver, kind):
    if driver.poisoned:
        raise RuntimeError("initialization error (pretended): the driver was initialised before")
    driver.initialise()
    import torch

    _let_storages_change(torch, driver.library)
    module = torch.xpu if kind == "xpu" else torch.cuda
    properties = Named(total_memory=driver.statistic(6), **PROPERTIES[kind])
    module.default_generators = (DefaultGenerator(driver.library),)
    module._get_device_properties = lambda _=0: properties


def _let_storages_change(torch, library):
    """A build for the CPU changes the size of no other storage, as FSDP does with each weight."""
    resize = torch.UntypedStorage.resize_

    def resize_(storage, size):
        if storage.device.type in ("cpu", "meta"):
            return resize(storage, size)
        library.pretend_resize(ctypes.c_void_p(storage._cdata), ctypes.c_size_t(size))
        return storage

    torch.UntypedStorage.resize_ = resize_
