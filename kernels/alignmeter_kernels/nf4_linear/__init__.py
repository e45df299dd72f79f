"""A linear layer whose frozen weight stays in bitsandbytes' NF4 blocks."""

__all__ = ["KERNEL", "Nf4Weight", "nf4_linear"]

from typing import Any

import torch

from alignmeter_kernels.kernel import Kernel
from alignmeter_kernels.nf4_linear import gpu
from alignmeter_kernels.nf4_linear.inputs import CASES, CHECK
from alignmeter_kernels.nf4_linear.ops import nf4_linear
from alignmeter_kernels.nf4_linear.reference import Nf4Weight, nf4_linear_reference


def _operator(x: torch.Tensor, **parts: Any) -> torch.Tensor:
    return nf4_linear(x, Nf4Weight(**parts))


def _reference(x: torch.Tensor, **parts: Any) -> torch.Tensor:
    return nf4_linear_reference(x, Nf4Weight(**parts))


def _on_chip(inputs: dict[str, torch.Tensor], options: dict[str, Any]) -> None:
    parts: dict[str, Any] = {**inputs, **options}
    x = parts.pop("x")
    weight = Nf4Weight(**parts)
    gpu.backward(gpu.forward(x, weight, None), weight)


KERNEL = Kernel(
    name="nf4_linear",
    operator=_operator,
    reference=_reference,
    check=CHECK,
    cases=CASES,
    on_chip=_on_chip,
    matmul=frozenset({"transposed_product", "product"}),
)
