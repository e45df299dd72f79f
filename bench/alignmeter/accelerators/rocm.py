"""AMD Instinct (ROCm presents itself to torch as cuda) devices."""

__all__ = ["ROCM", "highest_gfx"]

import re
from pathlib import Path

from alignmeter.accelerators.gpu import Gpu
from alignmeter.accelerators.torch_build import torch_build
from alignmeter.telemetry.amd.smi import open_amd
from alignmeter.telemetry.amd.visibility import visible_amd
from alignmeter.units import MIB

_TOPOLOGY = Path("/sys/class/kfd/kfd/topology/nodes")


def highest_gfx(topology: Path = _TOPOLOGY) -> tuple[int, int] | None:
    """The highest (major, minor) of the GPUs here, as the kernel driver's topology has it:
    (9, 4) is gfx942. ``None`` where there is none.

    Source: Linux, drivers/gpu/drm/amd/amdkfd/kfd_topology.c, ``gfx_target_version``.
    """
    found = []
    for path in topology.glob("*/properties"):
        match = re.search(r"^gfx_target_version (\d+)$", path.read_text(), re.MULTILINE)
        if match is not None and int(match[1]):  # a CPU's node has 0
            found.append(divmod(int(match[1]) // 100, 100))
    return max(found, default=None)


ROCM = Gpu(
    name="rocm",
    collectives="nccl",
    device_type="cuda",
    device_nodes=("kfd", "dxg"),
    open_telemetry=open_amd,
    telemetry_library="amdsmi",
    visible=visible_amd,
    visible_variables=(
        "ROCR_VISIBLE_DEVICES",
        "HIP_VISIBLE_DEVICES",
        "CUDA_VISIBLE_DEVICES",
        "GPU_DEVICE_ORDINAL",
        "AMD_VISIBLE_DEVICES",
    ),
    pinned_by="HIP_VISIBLE_DEVICES",
    kubernetes="amd.com/gpu",
    planned_chip="gfx942",
    context_nodes=("kfd", "dxg"),
    # hipBLAS' and hipBLASLt's: torch 2.11 to 2.13, as for CUDA.
    library_workspaces={
        "gfx": (32 + 76) * MIB,
        **dict.fromkeys(("gfx94", "gfx95"), (128 + 76) * MIB),
    },
    hiding={"HIP_VISIBLE_DEVICES": "-1", "CUDA_VISIBLE_DEVICES": "-1"},
    vendor_kernels=True,
    records_graphs=True,
    capability=highest_gfx,
    # Infinity Cache of MI300X and MI350X; HIP tells of their L2 only. ROCm's "AMD GPU
    # specifications", column L3, read 2026-11-28.
    unreported_cache_bytes=256 * MIB,
    build=lambda: torch_build("hip"),
    install="torch from AMD's or PyTorch's ROCm wheel index",
)
