"""NVIDIA devices."""

__all__ = ["CUDA", "highest_capability"]

from importlib import import_module
from typing import Any

from alignmeter.accelerators.gpu import Gpu
from alignmeter.accelerators.torch_build import torch_build
from alignmeter.telemetry.nvidia.nvml import open_nvml
from alignmeter.telemetry.nvidia.visibility import visible_nvidia
from alignmeter.units import KIB, MIB


def highest_capability() -> tuple[int, int] | None:
    """The highest compute capability of the GPUs here, as NVML has it: CUDA is left alone.

    ``None`` where NVML does not tell.
    """
    nvml: Any = import_module("pynvml")
    try:
        nvml.nvmlInit()
        handles = map(nvml.nvmlDeviceGetHandleByIndex, range(nvml.nvmlDeviceGetCount()))
        found = [nvml.nvmlDeviceGetCudaComputeCapability(handle) for handle in handles]
        nvml.nvmlShutdown()
    except nvml.NVMLError:
        return None
    return max(map(tuple, found), default=None)


CUDA = Gpu(
    name="cuda",
    collectives="nccl",
    device_type="cuda",
    # A Tegra has nvmap, and the Windows Subsystem for Linux presents any GPU as dxg.
    device_nodes=("nvidia*", "nvmap", "dxg"),
    open_telemetry=open_nvml,
    telemetry_library="nvml",
    visible=visible_nvidia,
    visible_variables=("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES"),
    pinned_by="CUDA_VISIBLE_DEVICES",
    kubernetes="nvidia.com/gpu",
    planned_chip="sm_90",
    # NVML opens the others too.
    context_nodes=("nvidia-uvm", "nvmap", "dxg"),
    # torch 2.11 to 2.13, aten/src/ATen/cuda/CublasHandlePool.cpp, parseChosenWorkspaceSize.
    library_workspaces={
        "sm_": 8 * MIB + 128 * KIB,
        **dict.fromkeys(("sm_9", "sm_10", "sm_11", "sm_12"), 32 * MIB),
    },
    hiding={"CUDA_VISIBLE_DEVICES": "-1"},
    vendor_kernels=True,
    records_graphs=True,
    capability=highest_capability,
    build=lambda: None if torch_build("hip") else torch_build("cuda"),
    install="torch from PyPI (its Linux wheels carry CUDA)",
)
