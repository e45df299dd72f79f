"""Causal convolution through the C++ library: fp32 on the CPU."""

__all__ = ["backward", "forward", "usable"]

from ctypes import CDLL, c_int, c_int64, c_void_p
from functools import cache
from pathlib import Path

import torch

from alignmeter_kernels.cpp import CppLibrary, address
from alignmeter_kernels.paths import is_portable_only
from alignmeter_kernels.planning import is_planning

_CONV = CppLibrary(Path(__file__).with_name("conv.cpp"))
Tensor = torch.Tensor


def usable() -> bool:
    """Whether the library is there; it is built now, if need be."""
    return not is_portable_only() and _library() is not None


@cache
def _library() -> CDLL | None:
    library = _CONV.library
    if library is not None:
        shape, tensors = [c_int64] * 4, [c_void_p] * 3
        library.conv_forward.argtypes = [*shape, *tensors, c_int, c_void_p, c_int64]
        library.conv_backward.argtypes = [*shape, *tensors, c_int, *[c_void_p] * 4, c_int64]
    return library


def _call(name: str, x: Tensor, w: Tensor, bias: Tensor | None, silu: bool, *more: Tensor) -> None:
    if is_planning():
        return
    getattr(_library(), name)(
        *x.shape, w.shape[1], address(x), address(w), address(bias), int(silu),
        *map(address, more), torch.get_num_threads(),
    )  # fmt: skip


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, *, silu: bool) -> Tensor:
    """[rows, D, T] of contiguous fp32 inputs."""
    y = torch.empty_like(x)
    _call("conv_forward", x, weight, bias, silu, y)
    return y


def backward(
    x: Tensor, weight: Tensor, bias: Tensor | None, dy: Tensor, *, silu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, weight and bias; the convolution is computed a second time."""
    dx, dweight, dbias = torch.empty_like(x), torch.zeros_like(weight), x.new_zeros(x.shape[1])
    _call("conv_backward", x, weight, bias, silu, dy, dx, dweight, dbias)
    return dx, dweight, dbias
