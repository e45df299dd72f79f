"""Selective scan through the C++ library: fp32 on the CPU."""

__all__ = ["CHUNK", "scan_backward", "scan_forward", "usable"]

from collections.abc import Sequence
from ctypes import CDLL, c_int, c_int64, c_void_p
from functools import cache
from pathlib import Path

import torch

from alignmeter_kernels.cpp import CppLibrary, address
from alignmeter_kernels.paths import is_portable_only
from alignmeter_kernels.planning import is_planning

CHUNK = 64
"""Tokens between kept states: 64 states of 16 and their decays fill 8 KiB of the L1 cache."""
_Z = 6
"""Place of z among the tensors."""
_STATES = (8, 16, 32, 64)
_SCAN = CppLibrary(Path(__file__).with_name("scan.cpp"))

Tensor = torch.Tensor


def usable(state_size: int) -> bool:
    """Whether the library is there (it is built now, if need be) and knows this state size."""
    return state_size in _STATES and not is_portable_only() and _library() is not None


@cache
def _library() -> CDLL | None:
    library = _SCAN.library
    if library is not None:
        shape, threads = [c_int64] * 5, c_int64
        library.scan_forward.argtypes = [
            *shape, *[c_void_p] * 9, c_int, *[c_void_p] * 3, threads,
        ]  # fmt: skip
        library.scan_backward.argtypes = [
            *shape, *[c_void_p] * 8, c_int, *[c_void_p] * 12, threads,
        ]  # fmt: skip
    return library


def scan_forward(*tensors: Tensor | None, softplus: bool) -> tuple[Tensor, Tensor, Tensor]:
    """``y``, the last state and the kept ones.

    ``tensors``: u, delta, A, B, C, D, z, bias and the first state, contiguous fp32; B, C are
    [rows, T, N].
    """
    u, n, shape = _shape(tensors)
    rows, width, length = u.shape
    y = torch.empty_like(u)
    last, kept = u.new_empty(rows, width, n), u.new_empty(rows, -(-length // CHUNK), width, n)
    _call("scan_forward", shape, tensors, softplus, (y, last, kept))
    return y, last, kept


def scan_backward(
    *tensors: Tensor | None, results: tuple[Tensor, Tensor, Tensor], softplus: bool
) -> list[Tensor]:
    """Gradients of u, delta, A, B, C, D, z, bias and the first state; B, C are [rows, T, N].

    ``tensors``: the first eight of `scan_forward`. ``results``: the kept states, and the gradients
    of y and of the last state.
    """
    u, n, shape = _shape(tensors)
    rows, width, length = u.shape
    threads = torch.get_num_threads()
    du, ddelta, dz = (torch.empty_like(u) for _ in range(3))
    dA, dD, dbias = u.new_zeros(width, n), u.new_zeros(width), u.new_zeros(width)
    dB, dC = (u.new_zeros(threads, rows, length, n) for _ in range(2))
    dfirst = u.new_empty(rows, width, n)
    gated = dz if tensors[_Z] is not None else None
    _call(
        "scan_backward", shape, tensors, softplus,
        (*results, du, ddelta, dA, dB, dC, dD, gated, dbias, dfirst),
    )  # fmt: skip
    return [du, ddelta, dA, dB.sum(0), dC.sum(0), dD, dz, dbias, dfirst]


def _shape(tensors: Sequence[Tensor | None]) -> tuple[Tensor, int, tuple[int, ...]]:
    u, A = tensors[0], tensors[2]
    if u is None or A is None:
        raise ValueError("u and A must be given")
    n = A.shape[1]
    return u, n, (*u.shape, n, CHUNK)


def _call(
    name: str,
    shape: tuple[int, ...],
    before: Sequence[Tensor | None],
    softplus: bool,
    after: Sequence[Tensor | None],
) -> None:
    if is_planning():
        return
    function = getattr(_library(), name)
    status = function(
        *shape, *map(address, before), int(softplus), *map(address, after), torch.get_num_threads()
    )
    if status:
        raise ValueError(f"{name} knows no state size {shape[3]}; known: {_STATES}")
