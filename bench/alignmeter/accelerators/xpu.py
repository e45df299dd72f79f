"""Intel devices."""

__all__ = ["XPU"]

import torch

from alignmeter.accelerators.gpu import Gpu

XPU = Gpu(
    name="xpu",
    device_type="xpu",
    build=getattr(torch.version, "xpu", None),
    install="torch from PyTorch's XPU wheel index",
)
