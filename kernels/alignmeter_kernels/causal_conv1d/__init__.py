"""Causal depthwise convolution with SiLU."""

__all__ = ["KERNEL", "causal_conv1d"]

from typing import Any

import torch

from alignmeter_kernels.causal_conv1d import gpu
from alignmeter_kernels.causal_conv1d.inputs import CASES, CHECK
from alignmeter_kernels.causal_conv1d.ops import causal_conv1d
from alignmeter_kernels.causal_conv1d.reference import causal_conv1d_reference
from alignmeter_kernels.kernel import Kernel


def _on_chip(inputs: dict[str, torch.Tensor], options: dict[str, Any]) -> None:
    x, weight, bias = inputs.values()
    y = gpu.forward(x, weight, bias, **options)
    gpu.backward(x, weight, bias, y, **options)


KERNEL = Kernel(
    name="causal_conv1d",
    operator=causal_conv1d,
    reference=causal_conv1d_reference,
    check=CHECK,
    cases=CASES,
    on_chip=_on_chip,
)
