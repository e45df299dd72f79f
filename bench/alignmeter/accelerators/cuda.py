"""NVIDIA devices."""

__all__ = ["CUDA"]

from alignmeter.accelerators.gpu import Gpu
from alignmeter.accelerators.torch_build import torch_build
from alignmeter.telemetry.nvidia.nvml import open_nvml
from alignmeter.telemetry.nvidia.visibility import visible_nvidia

CUDA = Gpu(
    name="cuda",
    device_type="cuda",
    # A Tegra has nvmap, and the Windows Subsystem for Linux presents any GPU as dxg.
    device_nodes=("nvidia*", "nvmap", "dxg"),
    open_telemetry=open_nvml,
    visible=visible_nvidia,
    visible_variables=("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES"),
    planned_chip="sm_90",
    vendor_kernels=True,
    build=lambda: None if torch_build("hip") else torch_build("cuda"),
    install="torch from PyPI (its Linux wheels carry CUDA)",
)
