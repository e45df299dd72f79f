"""What share of a device a kernel reaches, beside rates measured in the same process."""

__all__ = ["achieved"]

from collections.abc import Callable
from functools import cache

import torch

from alignmeter.accelerators import open_accelerator
from alignmeter.accelerators.base import Accelerator
from alignmeter_kernels.inputs import Case
from alignmeter_kernels.kernel import Kernel

_COPY_BYTES, _MATRIX, _ROUNDS = 2**30, 8192, 20


def achieved(
    kernel: Kernel, case: Case, *, backward: bool, seconds: float, accelerator: Accelerator
) -> dict[str, float]:
    """Bytes per s at the least traffic (each tensor once per pass), operations per s of the matrix
    products where there are any, and both as shares of the device's own copy and product.
    """
    moved = _least_bytes(kernel, case, backward=backward)
    found = {
        "bytes_per_s": moved / seconds,
        "share_of_copy": moved / seconds / _copy_rate(accelerator.name),
    }
    if kernel.flops is not None:
        work = kernel.flops(case, backward)
        found["flops_per_s"] = work / seconds
        found["share_of_product"] = work / seconds / _product_rate(accelerator.name)
    return found


def _least_bytes(kernel: Kernel, case: Case, *, backward: bool) -> int:
    made = case.make("meta", torch.bfloat16)
    read = sum(tensor.nbytes for tensor in made.values())
    given = sum(tensor.nbytes for tensor in made.values() if tensor.requires_grad)
    results = kernel.operator(**made, **case.options)
    written: int = sum(t.nbytes for t in (results if isinstance(results, tuple) else (results,)))
    once = read + written
    return once + read + written + given if backward else once


def _rate(call: Callable[[], object], work: float, accelerator: Accelerator) -> float:
    for _ in range(3):
        call()
    start = accelerator.mark()
    for _ in range(_ROUNDS):
        call()
    end = accelerator.mark()
    accelerator.synchronise()
    return _ROUNDS * work / accelerator.seconds(start, end)


@cache
def _copy_rate(name: str) -> float:
    accelerator = open_accelerator(name)
    source = torch.empty(_COPY_BYTES, dtype=torch.uint8, device=accelerator.torch_device())
    target = torch.empty_like(source)
    return _rate(lambda: target.copy_(source), 2 * _COPY_BYTES, accelerator)


@cache
def _product_rate(name: str) -> float:
    accelerator = open_accelerator(name)
    device = accelerator.torch_device()
    a, b = (torch.randn(_MATRIX, _MATRIX, device=device, dtype=torch.bfloat16) for _ in range(2))
    return _rate(lambda: a @ b, 2 * _MATRIX**3, accelerator)
