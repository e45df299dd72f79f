"""Where a record comes from: commit, versions, host, device, environment."""

__all__ = [
    "collect",
    "command_line",
    "environment_digest_here",
    "host_load",
    "source_commit",
]

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import psutil

from alignmeter.accelerators import open_accelerator
from alignmeter.accelerators.base import Device
from alignmeter.accelerators.imported import (
    imported_elsewhere,
    imported_versions,
    installed_versions,
)
from alignmeter.cells.cell import digest
from alignmeter.records.environment import environment_digest
from alignmeter.records.record import Provenance
from alignmeter.registry import ACCELERATORS
from alignmeter.text import encodable

_PREFIXES = (
    "CUDA_", "HIP_", "ROCR_", "HSA_", "NVIDIA_", "PYTORCH_", "TORCH_", "OMP_", "MKL_", "KMP_",
    "ONEAPI_", "TRITON_", "MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD", "BNB_", "GOMP_", "OPENBLAS_",
    "BLIS_", "ONEDNN_", "DNNL_", "ATEN_", "TORCHDYNAMO_", "TORCHINDUCTOR_", "FLASH_ATTENTION_",
    "CUBLAS", "CUDNN_", "ROCBLAS_", "HIPBLASLT_", "MIOPEN_", "AMD_SERIALIZE_", "AMD_LOG_LEVEL",
    "AMD_DIRECT_DISPATCH", "GPU_MAX_HW_QUEUES", "ZE_", "SYCL_", "UR_", "IGC_", "NEO",
    "PYTHONOPTIMIZE", "PYTHONDEVMODE", "PYTHONMALLOC", "PYTHONTRACEMALLOC", "PYTHONPERFSUPPORT",
)  # fmt: skip
"""Of what changes what a step computes or how long it takes: threads, allocators, code paths."""


@cache
def source_commit() -> str | None:
    """The git commit of the source tree; ``None`` when it is not a checkout.

    Changes since that commit are named by a digest, so that two different ones are not taken for
    the same code: ``<commit>+<digest>``.
    """
    folder = Path(__file__).parent
    here = folder.parents[2]
    if not (here / ".git").exists():
        return None
    commit = _git(here, "rev-parse", "HEAD")
    if commit is None:
        return None
    changes = _git(here, *_DIFF, "HEAD", "--", "bench", "kernels", "reports")
    return f"{commit}+{digest(changes)[:8]}" if changes else commit


_DIFF = ("diff", "--no-ext-diff", "--no-color")
"""The user's settings of git change how changes look, not what they are."""


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - the user's own git
            capture_output=True,
            encoding="utf-8",  # whatever the locale says, so that equal changes have one digest
            errors="replace",
            timeout=20,
            check=False,
            # A git hook sets GIT_DIR for its own repository, which wins over -C.
            env={k: v for k, v in os.environ.items() if not k.startswith("GIT_")},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


_OURS = ("PYTORCH_NVML_BASED_CUDA_CHECK",)
"""Set by `worker.preload` for the workers: not the user's choice, and absent in the parent."""
_FOLDERS = frozenset({
    "CUDA_CACHE_PATH", "CUDA_MPS_LOG_DIRECTORY", "CUDA_MPS_PIPE_DIRECTORY", "TORCH_EXTENSIONS_DIR",
    "TORCH_HOME", "TRITON_CACHE_DIR", "TRITON_HOME", "TORCHINDUCTOR_CACHE_DIR",
    "MIOPEN_USER_DB_PATH", "MIOPEN_CUSTOM_CACHE_DIR",
})  # fmt: skip
"""Variables by which a scheduler gives each job folders of its own."""


@cache
def _placing() -> frozenset[str]:
    """Variables that say which of like devices and folders a job got: no step depends on them."""
    rows = (open_accelerator(name) for name in ACCELERATORS)
    return _FOLDERS.union(*(row.visible_variables for row in rows))


def _environment() -> dict[str, str]:
    left_out = _placing().union(_OURS)
    names = sorted(k for k in os.environ if k.startswith(_PREFIXES) and k not in left_out)
    return {encodable(name): encodable(os.environ[name]) for name in names}


def _placement() -> dict[str, str]:
    names = [name for name in sorted(_placing()) if name in os.environ]
    return {name: encodable(os.environ[name]) for name in names}


def environment_digest_here(device: Device, threads: int | None) -> str:
    """`environment_digest` of a record that is made by this process on that device."""
    return environment_digest(
        versions=installed_versions(),
        imported=imported_elsewhere(),
        device=device.name,
        driver=device.driver,
        runtime=device.runtime,
        threads=threads,
        environment=_environment(),
    )


def host_load(exclude_own: float = 0.0) -> float:
    """Busy share of the host's cores in the last minute, without ``exclude_own`` busy cores."""
    return max(0.0, os.getloadavg()[0] - exclude_own) / (psutil.cpu_count() or 1)


def command_line(arguments: Sequence[str] | None = None) -> str:
    """This process's command as a shell takes it; the program by its name, wherever it stands here.

    ``arguments`` stand in for the process's own.
    """
    given = sys.argv[1:] if arguments is None else arguments
    return encodable(shlex.join([Path(sys.argv[0]).name, *given]))


def collect(device: Device, threads: int | None) -> Provenance:
    """Provenance of this process on ``device``; the worker adds to it."""
    return Provenance(
        commit=source_commit(),
        versions=imported_versions(),
        imported=dict(imported_elsewhere()),
        environment_digest=environment_digest_here(device, threads),
        host=platform.node(),
        os=platform.platform(),
        device=device.name,
        device_memory_bytes=device.memory_bytes,
        memory_limited_by=device.memory_limited_by,
        driver=device.driver,
        runtime=device.runtime,
        uuid=device.uuid,
        threads=threads,
        environment=_environment(),
        placement=_placement(),
        load_before=host_load(),
        command=command_line(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )
