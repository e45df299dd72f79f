"""Processes that have a GPU, pretended: what they need in their environment.

`build` compiles ``device.cpp``; `Machine` is a folder with a torch that says what it was built for,
device files and the vendor's library on a script. Its `environment` is given to a subprocess, and
to whatever that starts: forkserver, workers, samplers.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from amd_stub import MI300X, build_amd
from nvml_stub import H200, build_nvml
from stub_libraries import Scenario

HERE = Path(__file__).parent
KINDS = ("cuda", "rocm", "xpu")
NO_COMPILER = "no C++ compiler (c++) here: install one to run on the pretended device"
_VERSIONS = {"cuda": "13.0", "hip": "7.2.0", "xpu": "20250302"}
_TOOLKITS = {"cuda": "cuda", "rocm": "hip", "xpu": "xpu"}
_NO_ENERGY = dict.fromkeys(
    ("nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetPowerUsage", "field_83", "field_185",
     "field_186", "field_191"), 3,
)  # fmt: skip
"""NVML_ERROR_NOT_SUPPORTED: a replicate then has no energy window, which takes seconds."""
_NODES = {
    "cuda": ("nvidiactl", "nvidia0", "nvidia-uvm"),
    "rocm": ("kfd", "dri/renderD128"),
    "xpu": ("dri/renderD128",),
}


def why_not():
    """Why nothing can be pretended here; ``None`` if it can."""
    if shutil.which("c++") is None:
        return NO_COMPILER
    if _version().get("cuda") or _version().get("hip") or _version().get("xpu"):
        return "this torch was built for a GPU: pretending one takes a build for the CPU"
    return None


def _torch():
    spec = importlib.util.find_spec("torch")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _version():
    found: dict[str, object] = {}
    exec((_torch() / "version.py").read_text(), found)  # noqa: S102 - torch's own file
    return found


def build(folder, kind):
    """The library of that device, compiled into ``folder``: 15 s of one core.

    One that is there is taken if it was made from this source for this torch.
    """
    torch, source = _torch(), HERE / "device.cpp"
    made_from = source.read_bytes() + (torch / "version.py").read_bytes()
    key = hashlib.sha256(made_from).hexdigest()[:12]
    output = folder / f"libpretend_{'xpu' if kind == 'xpu' else 'cuda'}_{key}.so"
    if output.is_file():
        return output
    includes = [torch / "include", torch / "include" / "torch" / "csrc" / "api" / "include"]
    command = [
        "c++", "-std=c++20", "-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror",
        "-D_GLIBCXX_USE_CXX11_ABI=1", *(["-DPRETEND_XPU"] if kind == "xpu" else []),
        *(f"-isystem{path}" for path in includes), "-o", str(output), str(source),
        f"-L{torch / 'lib'}", "-ltorch_cpu", "-lc10",
    ]  # fmt: skip
    subprocess.run(command, check=True)
    return output


def _joined(folder, variable):
    """The folder before what the variable holds."""
    return os.pathsep.join(filter(None, [str(folder), os.environ.get(variable)]))


class Machine:
    """A machine with one pretended device of ``kind`` (cuda, rocm or xpu)."""

    def __init__(self, folder, kind, library, *, energy=False):
        """``energy``: its counter can be read, so that a replicate has its energy window."""
        self.folder, self.kind, self._library = folder, kind, library
        self._silent = {} if energy or kind != "cuda" else _NO_ENERGY
        folder.mkdir(parents=True, exist_ok=True)
        self._site = folder / "site"
        self._shadow_torch()
        self._nodes()
        self._vendor()

    def _shadow_torch(self):
        """All of torch by links, but its version: that says what it was built for."""
        real, shadow = _torch(), self._site / "torch"
        shadow.mkdir(parents=True)
        for entry in real.iterdir():
            if entry.name not in ("version.py", "__pycache__"):
                (shadow / entry.name).symlink_to(entry)
        toolkit = _TOOLKITS[self.kind]
        text = (real / "version.py").read_text()
        said = f"\n{toolkit} = {_VERSIONS[toolkit]!r}\n"
        (shadow / "version.py").write_text(text + said)
        for name in ("sitecustomize.py", "torch_module.py", "interpreter.py"):
            (self._site / name).symlink_to(HERE / name)

    def _nodes(self):
        self.dev = self.folder / "dev"
        for name in _NODES[self.kind]:
            node = self.dev / name
            node.parent.mkdir(parents=True, exist_ok=True)
            node.touch()

    def _vendor(self):
        device = {"cuda": H200 | self._silent, "rocm": MI300X, "xpu": {}}[self.kind]
        trace = {0: [(0.0, 300.0, 2**30, 0)]}
        said = {"started_ns": time.monotonic_ns()}
        self._scenario = Scenario([device], library=said, traces=trace).write(self.folder / "said")
        if self.kind == "cuda":
            build_nvml(self.folder)
        elif self.kind == "rocm":
            build_amd(self.folder / "rocm")

    def environment(self, *, capacity=None, workspace=0, chip=None, fail=None, trace=None, **more):
        """Of a process there.

        ``capacity``: bytes of the device. ``workspace``: bytes for each thread that multiplies.
        ``chip``: the operators run with its tiles; without it they take the torch path. ``fail``:
        "OPERATOR COUNT MESSAGE". ``trace``: a file with a line for each process that initialised
        the driver. ``more``: further variables.
        """
        first = self.dev / _NODES[self.kind][-1]
        given = {
            "PRETEND": self.kind,
            "PRETEND_LIBRARY": self._library,
            "PRETEND_TORCH": _torch(),
            "PRETEND_DEV": self.dev,
            "PRETEND_NODES": first,
            "PRETEND_WORKSPACE_BYTES": workspace,
            "PYTHONPATH": os.pathsep.join(
                filter(None, [str(self._site), os.environ.get("PYTHONPATH")])
            ),
            "STUB_SCENARIO": self._scenario,
            "XDG_CACHE_HOME": self.folder / "cache",
            "HF_HUB_OFFLINE": 1,
            # torch has products of its own in Triton for CUDA; nothing here can run them.
            "TORCH_DISABLE_NATIVE_JIT": 1,
            # bitsandbytes compiles its operators for any device, which would ask for CUDA's driver.
            "TORCHDYNAMO_DISABLE": 1,
            "OMP_NUM_THREADS": 1,
        }
        if self.kind == "cuda":
            given["LD_LIBRARY_PATH"] = _joined(self.folder, "LD_LIBRARY_PATH")
        if self.kind == "rocm":
            given |= {"ROCM_PATH": self.folder / "rocm", "PRETEND_HIP": 1}
        for name, value in (("BYTES", capacity), ("CHIP", chip), ("FAIL", fail), ("TRACE", trace)):
            if value is not None:
                given[f"PRETEND_{name}"] = value
        kept = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
        return {**kept, **{k: str(v) for k, v in (given | more).items()}}

    def python(self, code, *arguments, timeout=200, **options):
        """That program in a process there; its standard output. It must end well.

        At its end nothing is torn down: a thread of the backward pass that asks for Python's lock
        while the interpreter goes would end the process with SIGABRT.
        """
        code = f"{code}\nimport os, sys\nsys.stdout.flush()\nos._exit(0)\n"
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, *map(str, arguments)],
            env=self.environment(**options), capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def alignmeter(self, *arguments, status=0, timeout=250, cwd=None, **options):
        """The command there, which must end with that status."""
        command = Path(sys.executable).with_name("alignmeter")
        done = subprocess.run(
            [command, *map(str, arguments)], env=self.environment(**options),
            cwd=cwd or self.folder, capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip
        assert done.returncode == status, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done
