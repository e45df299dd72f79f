"""C++ kernels for the CPU: built on first use, kept in the user's cache folder.

They are plain shared libraries called through ctypes, without torch's headers: a build takes a
second or two instead of half a minute, and needs a compiler but no ninja. A build that fails is
said aloud once, and the pure-torch path runs instead.
"""

__all__ = ["CppLibrary", "address"]

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import time
import warnings
from functools import cached_property
from pathlib import Path

import torch

from alignmeter_kernels.compile_time import spent

# No -ffast-math: it would let NaN pass as a number, and its start-up code changes how the whole
# process treats denormals. These leave NaN and infinity as they are; sums may be taken in another
# order (associative-math), which made the scan 1.5 times faster on an AMD EPYC.
_FLAGS = (
    "-O3", "-march=native", "-std=c++17", "-fPIC", "-shared", "-pthread", "-fopenmp-simd",
    "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fno-signed-zeros",
    "-fassociative-math",
)  # fmt: skip
_BUILD_S = 300
_SHARED = Path(__file__).with_name("cpu.h")
"""Included by the sources: a change of it is a change of theirs."""


def address(tensor: torch.Tensor | None) -> ctypes.c_void_p:
    """Where the data of a contiguous fp32 tensor begin; null for ``None``."""
    if tensor is None:
        return ctypes.c_void_p(None)
    if tensor.dtype != torch.float32 or not tensor.is_contiguous():
        raise ValueError(f"want contiguous fp32, got {tensor.dtype} with strides {tensor.stride()}")
    return ctypes.c_void_p(tensor.data_ptr())


class CppLibrary:
    """One source file as a shared library. ``missing`` says why there is none."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self.missing: str | None = None

    @cached_property
    def library(self) -> ctypes.CDLL | None:
        """The loaded library, or ``None`` with a warning and the reason in ``missing``."""
        try:
            return ctypes.CDLL(str(self._built()))
        except (OSError, subprocess.SubprocessError, RuntimeError) as error:
            self.missing = f"{type(error).__name__}: {error}"
            warnings.warn(
                f"{self._source.name}: no C++ kernel, the slower torch path runs: {self.missing}",
                RuntimeWarning,
                stacklevel=2,
            )
            return None

    def _built(self) -> Path:
        compiler = shutil.which(os.environ.get("CXX", "c++"))
        if compiler is None:
            raise RuntimeError("no C++ compiler (c++ or $CXX); install one, e.g. g++")
        path = _cache() / f"{self._source.stem}-{self._key(compiler)}.so"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                made = Path(folder) / path.name
                command = [compiler, *_FLAGS, str(self._source), "-o", str(made)]
                start = time.monotonic()
                done = subprocess.run(
                    command, capture_output=True, text=True, timeout=_BUILD_S, check=False
                )
                spent(time.monotonic() - start)
                if done.returncode:
                    raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")
                made.replace(path)
        return path

    def _key(self, compiler: str) -> str:
        version = subprocess.run(
            [compiler, "--version"], capture_output=True, text=True, timeout=20, check=True
        ).stdout
        found = hashlib.sha256(self._source.read_bytes() + _SHARED.read_bytes())
        found.update("\n".join([*_FLAGS, version, torch.__version__, _cpu()]).encode())
        return found.hexdigest()[:16]


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "alignmeter" / "kernels"


def _cpu() -> str:
    """What ``-march=native`` depends on: a home may be shared by machines that differ."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith(("flags", "Features")):
                return line
    return platform.processor() or platform.machine()
