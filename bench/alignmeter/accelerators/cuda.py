"""NVIDIA devices."""

__all__ = ["CUDA"]

import torch

from alignmeter.accelerators.gpu import Gpu

CUDA = Gpu(
    name="cuda",
    device_type="cuda",
    build=torch.version.cuda if torch.version.hip is None else None,
    install="torch from PyPI (its Linux wheels carry CUDA)",
)
