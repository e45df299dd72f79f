"""Mamba's selective scan."""

__all__ = ["KERNEL", "selective_scan"]

from typing import Any

import torch

from alignmeter_kernels.kernel import Kernel
from alignmeter_kernels.selective_scan import gpu
from alignmeter_kernels.selective_scan.inputs import CASES, CHECK
from alignmeter_kernels.selective_scan.ops import selective_scan
from alignmeter_kernels.selective_scan.reference import selective_scan_reference


def _on_chip(inputs: dict[str, torch.Tensor], options: dict[str, Any]) -> None:
    softplus = options["delta_softplus"]
    u, delta, A, B, C, D, z, bias = inputs.values()
    y, last, kept = gpu.forward(u, delta, A, B, C, D, z, bias, None, softplus=softplus)
    results = kept, y, last
    gpu.backward(u, delta, A, B, C, D, z, bias, results=results, softplus=softplus)


KERNEL = Kernel(
    name="selective_scan",
    operator=selective_scan,
    reference=selective_scan_reference,
    check=CHECK,
    cases=CASES,
    on_chip=_on_chip,
)
