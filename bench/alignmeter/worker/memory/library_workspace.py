"""What libraries of matrix products keep for each thread that multiplies, measured."""

__all__ = ["library_workspace_bytes"]

import gc

import torch

from alignmeter.accelerators.base import Accelerator
from alignmeter.worker.memory.torch_internals import forget_library_workspaces

_SIDE = 64


def library_workspace_bytes(accelerator: Accelerator, device: torch.device) -> int:
    """Bytes of the allocator's that belong to no tensor but to cuBLAS or hipBLAS; 0 without them.

    They are freed, and taken again by a product in the forward and in the backward pass: those run
    in threads of their own. What a step then finds is what it found before.
    """
    gc.collect()
    if not forget_library_workspaces():
        return 0
    without = _allocated(accelerator)
    _multiply(device)
    gc.collect()
    return _allocated(accelerator) - without


def _allocated(accelerator: Accelerator) -> int:
    accelerator.synchronise()
    peaks = accelerator.peaks(reset=False)
    return 0 if peaks is None else peaks.allocated_now_bytes


def _multiply(device: torch.device) -> None:
    """Products as layers and attention make them, with and without a bias, in either precision."""
    for dtype in (torch.bfloat16, torch.float32):
        rows = torch.ones(_SIDE, _SIDE, device=device, dtype=dtype)
        weight = rows.clone().requires_grad_()
        bias = torch.zeros(_SIDE, device=device, dtype=dtype, requires_grad=True)
        product = torch.nn.functional.linear(rows, weight, bias) @ weight
        torch.bmm(product[None], weight[None]).float().sum().backward()
