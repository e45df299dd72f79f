"""AMD Instinct (ROCm presents itself to torch as cuda) devices."""

__all__ = ["ROCM"]

from alignmeter.accelerators.gpu import Gpu
from alignmeter.accelerators.torch_build import torch_build
from alignmeter.telemetry.amd.smi import open_amd
from alignmeter.telemetry.amd.visibility import visible_amd

ROCM = Gpu(
    name="rocm",
    device_type="cuda",
    device_nodes=("kfd", "dxg"),
    open_telemetry=open_amd,
    visible=visible_amd,
    visible_variables=(
        "ROCR_VISIBLE_DEVICES",
        "HIP_VISIBLE_DEVICES",
        "CUDA_VISIBLE_DEVICES",
        "GPU_DEVICE_ORDINAL",
        "AMD_VISIBLE_DEVICES",
    ),
    planned_chip="gfx942",
    vendor_kernels=True,
    build=lambda: torch_build("hip"),
    install="torch from AMD's or PyTorch's ROCm wheel index",
)
