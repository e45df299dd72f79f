"""Mamba-2's scan: state-space duality."""

__all__ = ["KERNEL", "ssd_scan"]

from typing import Any

import torch

from alignmeter_kernels.kernel import Kernel
from alignmeter_kernels.ssd_scan import gpu
from alignmeter_kernels.ssd_scan.inputs import CASES, CHECK
from alignmeter_kernels.ssd_scan.ops import ssd_scan, step_sizes
from alignmeter_kernels.ssd_scan.reference import ssd_scan_reference


def _on_chip(inputs: dict[str, torch.Tensor], options: dict[str, Any]) -> None:
    x, dt, A, B, C, D, bias = inputs.values()
    steps = step_sizes(dt, bias, **options)
    y, last = gpu.forward(x, steps, A, B, C, D, None)
    gpu.backward(x, steps, A, B, C, D, None, y, last)


KERNEL = Kernel(
    name="ssd_scan",
    rounds_operands=True,
    operator=ssd_scan,
    reference=ssd_scan_reference,
    check=CHECK,
    cases=CASES,
    on_chip=_on_chip,
    matmul=frozenset(
        {
            "b_gradients",
            "c_gradients",
            "chunk_gradients",
            "chunk_outputs",
            "chunk_pairs",
            "chunk_state_grads",
            "chunk_states",
        }
    ),
)
