"""Intel devices."""

__all__ = ["XPU"]

from alignmeter.accelerators.gpu import Gpu
from alignmeter.accelerators.torch_build import torch_build
from alignmeter.telemetry.intel.sysfs import open_intel
from alignmeter.telemetry.intel.visibility import visible_intel
from alignmeter.units import MIB

XPU = Gpu(
    name="xpu",
    collectives="xccl",
    device_type="xpu",
    # GPUs, of which those of other vendors have render nodes too, and compute accelerators.
    device_nodes=("dri/renderD*", "accel/accel*", "dxg"),
    open_telemetry=open_intel,
    telemetry_library="linux",
    visible=visible_intel,
    visible_variables=(
        "ZE_AFFINITY_MASK",
        "ZE_ENABLE_PCI_ID_DEVICE_ORDER",
        "ONEAPI_DEVICE_SELECTOR",
        "SYCL_DEVICE_FILTER",
        "SYCL_DEVICE_ALLOWLIST",
    ),
    pinned_by="ZE_AFFINITY_MASK",
    kubernetes="gpu.intel.com/i915",  # with the kernel's newer driver gpu.intel.com/xe
    planned_chip="xpu",
    context_nodes=("dri/renderD*", "accel/accel*", "dxg"),
    # L2 of the Data Center GPU Max 1550 (Intel's specifications), for a torch that tells of none.
    unreported_cache_bytes=408 * MIB,
    build=lambda: torch_build("xpu"),
    install="torch from PyTorch's XPU wheel index",
)
