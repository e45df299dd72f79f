"""Mamba-2's scan as a torch operator: autograd, FakeTensor and torch.compile see it as one."""

__all__ = ["ssd_scan", "step_sizes"]

import math
from typing import Any

import torch
import torch.nn.functional as F

from alignmeter_kernels.launch import launchable
from alignmeter_kernels.paths import note
from alignmeter_kernels.planning import fake, operator
from alignmeter_kernels.ssd_scan import gpu, portable

Tensor = torch.Tensor


def ssd_scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    dt_bias: Tensor | None = None,
    *,
    dt_softplus: bool = False,
    dt_limit: tuple[float, float] = (0.0, math.inf),
    initial_state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`reference.ssd_scan_reference` in O(rows T H P) memory, in chunks, with fp32 sums.

    Args:
        x: [rows, T, H, P], any float dtype. dt: [rows, T, H]. A, D, dt_bias: [H]. B, C:
            [rows, T, G, N]; H / G heads in a row share a group. initial_state: [rows, H, P, N],
            zero by default. dt_limit: what dt is clamped to after bias and softplus.

    Returns:
        y [rows, T, H, P] in the dtype of ``x``, and the last state [rows, H, P, N] in fp32.

    Raises:
        ValueError: naming the argument whose shape, dtype, device or value does not fit.
    """
    _check(x, dt, A, B, C, D, dt_bias, initial_state)
    if not dt_limit[0] <= dt_limit[1]:
        raise ValueError(
            f"dt_limit is {dt_limit}; want its first value to be no more than its second"
        )
    steps = step_sizes(dt, dt_bias, dt_softplus=dt_softplus, dt_limit=dt_limit)
    # Cast here, so that autograd casts the gradients back.
    skip, first = (None if t is None else t.float() for t in (D, initial_state))
    y, last = _forward(x, steps, A.float(), B.to(x.dtype), C.to(x.dtype), skip, first)
    return y, last


def step_sizes(
    dt: Tensor,
    bias: Tensor | None,
    *,
    dt_softplus: bool = False,
    dt_limit: tuple[float, float] = (0.0, math.inf),
) -> Tensor:
    """Step sizes [rows, T, H] in fp32. Plain torch: they are 1/P of the size of x."""
    total = dt.float() if bias is None else dt.float() + bias.float()
    low, high = dt_limit
    return (F.softplus(total) if dt_softplus else total).clamp(low, high)


def _check(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    bias: Tensor | None,
    first: Tensor | None,
) -> None:
    if x.dim() != 4 or B.dim() != 4:
        raise ValueError(
            f"x {tuple(x.shape)} and B {tuple(B.shape)}: want [rows, T, H, P] and [rows, T, G, N]"
        )
    (rows, length, heads, width), (groups, n) = x.shape, B.shape[2:]
    if groups < 1 or heads % groups:
        raise ValueError(f"B has {groups} groups; want a divisor of the {heads} heads of x")
    wanted = {
        "x": (x, tuple(x.shape)),
        "dt": (dt, (rows, length, heads)),
        "A": (A, (heads,)),
        "B": (B, (rows, length, groups, n)),
        "C": (C, (rows, length, groups, n)),
        "D": (D, (heads,)),
        "dt_bias": (bias, (heads,)),
        "initial_state": (first, (rows, heads, width, n)),
    }
    for name, (tensor, shape) in wanted.items():
        if tensor is None:
            continue
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} is {tuple(tensor.shape)}; want {shape} beside x and B")
        if tensor.device != x.device:
            raise ValueError(f"{name} is on {tensor.device}, x on {x.device}")
        if not tensor.is_floating_point():
            raise ValueError(f"{name} is {tensor.dtype}; want a float dtype")


def _triton(x: Tensor) -> bool:
    # No matrix unit multiplies float64 the way the kernels ask for.
    return launchable(x.device) and x.dtype != torch.float64


@operator("alignmeter::ssd_scan")
def _forward(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    first: Tensor | None,
) -> tuple[Tensor, Tensor]:
    if _triton(x):
        note("ssd_scan", "triton")
        return gpu.forward(x, dt, A, B, C, D, first)
    note("ssd_scan", "torch")
    return portable.forward(x, dt, A, B, C, D, first)


@fake(_forward)
def _(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    last = x.new_empty(x.shape[0], *x.shape[2:], B.shape[3], dtype=torch.float32)
    return x.new_empty(x.shape), last


@operator("alignmeter::ssd_scan_backward")
def _backward(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    first: Tensor | None,
    dy: Tensor,
    dlast: Tensor,
) -> list[Tensor]:
    backward = gpu.backward if _triton(x) else portable.backward
    return list(backward(x, dt, A, B, C, D, first, dy, dlast))


@fake(_backward)
def _(*tensors: Any) -> list[Tensor]:
    x, dt, A, B, C, _, _, _, dlast = tensors
    return [t.new_empty(t.shape) for t in (x, dt, A, B, C, A, dlast)]


def _setup(ctx: object, inputs: tuple[Tensor | None, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs)  # type: ignore[attr-defined]
    ctx.set_materialize_grads(True)  # type: ignore[attr-defined]


def _gradients(ctx: object, dy: Tensor, dlast: Tensor) -> tuple[Tensor | None, ...]:
    tensors = ctx.saved_tensors  # type: ignore[attr-defined]
    found = _backward(*tensors, dy, dlast)
    return tuple(None if t is None else g for g, t in zip(found, tensors, strict=True))


_forward.register_autograd(_gradients, setup_context=_setup)
