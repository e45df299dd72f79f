"""AMD Instinct (ROCm presents itself to torch as cuda) devices."""

__all__ = ["ROCM"]

import torch

from alignmeter.accelerators.gpu import Gpu

ROCM = Gpu(
    name="rocm",
    device_type="cuda",
    build=torch.version.hip,
    install="torch from AMD's or PyTorch's ROCm wheel index",
)
