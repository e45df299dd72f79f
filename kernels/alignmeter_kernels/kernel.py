"""What a kernel's folder offers to the rest: one `Kernel` each, listed in `KERNELS`."""

__all__ = ["Kernel"]

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from alignmeter_kernels.inputs import Case


@dataclass(frozen=True, kw_only=True, slots=True)
class Kernel:
    """An operator beside its plain reference.

    ``operator`` and ``reference`` take the tensors and options of a case by keyword and return a
    tensor or a tuple of them. ``check`` is small and of odd sizes: a timing counts only after it
    passed. ``on_chip(tensors, options)`` makes every Triton launch of a forward
    and a backward pass; ``None`` where there is no Triton version. ``matmul``: its Triton functions
    that must use the matrix unit. ``rounds_operands``: what they computed before is rounded to the
    dtype of the inputs when it is multiplied, so that fp32 results are no nearer than that.
    ``flops(case, backward)``: operations of its matrix products, at the least that a pass can do;
    ``None`` where there are none to speak of.
    """

    name: str
    operator: Callable[..., Any]
    reference: Callable[..., Any]
    check: Case
    cases: tuple[Case, ...] = ()
    on_chip: Callable[[dict[str, torch.Tensor], dict[str, Any]], None] | None = None
    matmul: frozenset[str] = frozenset()
    rounds_operands: bool = False
    flops: Callable[[Case, bool], float] | None = None
