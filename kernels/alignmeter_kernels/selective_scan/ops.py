"""Selective scan as a torch operator: autograd, FakeTensor and torch.compile see it as one."""

__all__ = ["selective_scan"]

from typing import Any

import torch
import torch.nn.functional as F

from alignmeter_kernels.launch import launchable
from alignmeter_kernels.layout import dense, wide
from alignmeter_kernels.paths import note
from alignmeter_kernels.planning import fake, operator
from alignmeter_kernels.selective_scan import gpu, native, portable

Tensor = torch.Tensor


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    *,
    delta_softplus: bool = False,
    initial_state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`reference.selective_scan_reference` in O(rows T D) memory, computed in fp32.

    Args:
        u, delta, z: [rows, D, T], any float dtype. A: [D, N]. B, C: [rows, N, T]. D, delta_bias:
            [D]. initial_state: [rows, D, N], zero by default.

    Returns:
        y [rows, D, T] in the dtype of ``u``, and the last state [rows, D, N] in fp32.

    Raises:
        ValueError: naming the argument whose shape or device does not fit.
    """
    _check(u, delta, A, B, C, D, z, delta_bias, initial_state)
    y, last, _ = _forward(u, delta, A, B, C, D, z, delta_bias, initial_state, delta_softplus)
    return y, last


def _check(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    bias: Tensor | None,
    first: Tensor | None,
) -> None:
    if u.dim() != 3 or A.dim() != 2:
        raise ValueError(f"u {tuple(u.shape)} and A {tuple(A.shape)}: want [rows, D, T] and [D, N]")
    (rows, width, length), n = u.shape, A.shape[1]
    wanted = {
        "delta": (delta, (rows, width, length)),
        "A": (A, (width, n)),
        "B": (B, (rows, n, length)),
        "C": (C, (rows, n, length)),
        "D": (D, (width,)),
        "z": (z, (rows, width, length)),
        "delta_bias": (bias, (width,)),
        "initial_state": (first, (rows, width, n)),
    }
    for name, (tensor, shape) in wanted.items():
        if tensor is None:
            continue
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} is {tuple(tensor.shape)}; want {shape} beside u")
        if tensor.device != u.device:
            raise ValueError(f"{name} is on {tensor.device}, u on {u.device}")
        if not tensor.is_floating_point():
            raise ValueError(f"{name} is {tensor.dtype}; want a float dtype")


def _native(u: Tensor, A: Tensor) -> bool:
    return u.device.type == "cpu" and native.usable(A.shape[1])


def _sizes(delta: Tensor, bias: Tensor | None, softplus: bool) -> Tensor:
    """Step sizes in fp32, and with softplus their derivative is `torch.sigmoid` of the input."""
    total = delta.float() if bias is None else delta.float() + bias.float()[:, None]
    return F.softplus(total) if softplus else total


@operator("alignmeter::selective_scan")
def _forward(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    initial_state: Tensor | None,
    delta_softplus: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    rows, width, _ = u.shape
    if launchable(u.device):
        note("selective_scan", "triton")
        tensors = dense(u, delta, A, B, C, D, z, delta_bias, initial_state)
        return gpu.forward(*tensors, softplus=delta_softplus)
    if _native(u, A):
        note("selective_scan", "cpp")
        made = [wide(t) for t in (u, delta, A, B.mT, C.mT, D, z, delta_bias, initial_state)]
        y, last, kept = native.scan_forward(*made, softplus=delta_softplus)
        return y.to(u.dtype), last, kept
    note("selective_scan", "torch")
    first = u.new_zeros(rows, width, A.shape[1], dtype=torch.float32)
    if initial_state is not None:
        first = initial_state.float()
    dt = _sizes(delta, delta_bias, delta_softplus)
    y, last, kept = portable.scan_forward(u.float(), dt, A.float(), B.float(), C.float(), first)
    if D is not None:
        y.addcmul_(D.float()[:, None], u.float())
    if z is not None:
        y.mul_(F.silu(z.float()))
    return y.to(u.dtype, copy=False), last, kept


@fake(_forward)
def _(u: Tensor, delta: Tensor, A: Tensor, *_: object) -> tuple[Tensor, Tensor, Tensor]:
    (rows, width, length), n = u.shape, A.shape[1]
    chunks = (length + portable.CHUNK - 1) // portable.CHUNK
    return (
        u.new_empty(rows, width, length),
        u.new_empty(rows, width, n, dtype=torch.float32),
        u.new_empty(rows, chunks, width, n, dtype=torch.float32),
    )


@operator("alignmeter::selective_scan_backward")
def _backward(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    kept: Tensor,
    dy: Tensor,
    dlast: Tensor,
) -> list[Tensor]:
    if launchable(u.device):
        results = kept, dy.contiguous(), dlast.contiguous()
        tensors = dense(u, delta, A, B, C, D, z, delta_bias)
        found = gpu.backward(*tensors, results=results, softplus=delta_softplus)
    elif _native(u, A):
        made = [wide(t) for t in (u, delta, A, B.mT, C.mT, D, z, delta_bias)]
        results = kept, dy.float().contiguous(), dlast.contiguous()
        found = native.scan_backward(*made, results=results, softplus=delta_softplus)
        found[3:5] = [found[3].mT, found[4].mT]
    else:
        found = _portable_backward(
            u.float(), delta, A.float(), B.float(), C.float(), D, z, delta_bias, delta_softplus,
            kept, dy.float(), dlast,
        )  # fmt: skip
    takers = (u, delta, A, B, C, D, z, delta_bias, kept)
    return [
        gradient.to(taker.dtype).contiguous() if taker is not None else gradient.new_empty(0)
        for gradient, taker in zip(found, takers, strict=True)
    ]


def _portable_backward(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    bias: Tensor | None,
    softplus: bool,
    kept: Tensor,
    dy: Tensor,
    dlast: Tensor,
) -> list[Tensor]:
    dt = _sizes(delta, bias, softplus)
    gated = dy
    if z is not None:
        gate = torch.sigmoid(z.float())
        gated = dy * z.float() * gate
    du, ddt, dA, dB, dC, dfirst, y = portable.scan_backward(u, dt, A, B, C, kept, gated, dlast)
    dD = dz = u.new_empty(0)
    if D is not None:
        dD = (gated * u).sum((0, 2))
        du.addcmul_(D.float()[:, None], gated)
        y.addcmul_(D.float()[:, None], u)
    if z is not None:
        dz = dy * y * gate * (1 + z.float() * (1 - gate))
    if softplus:
        total = delta.float() if bias is None else delta.float() + bias.float()[:, None]
        ddt.mul_(torch.sigmoid(total))
    return [du, ddt, dA, dB, dC, dD, dz, ddt.sum((0, 2)), dfirst]


@fake(_backward)
def _(u: Tensor, *more: Any) -> list[Tensor]:
    *takers, _softplus, _kept, _dy, dlast = more
    found = [u.new_empty(0) if t is None else t.new_empty(t.shape) for t in (u, *takers)]
    return [*found, dlast.new_empty(dlast.shape)]


def _setup(ctx: object, inputs: tuple[object, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *tensors, first, softplus = inputs
    ctx.save_for_backward(*tensors, output[2])  # type: ignore[attr-defined]
    ctx.has_first, ctx.softplus = first is not None, softplus  # type: ignore[attr-defined]
    ctx.set_materialize_grads(True)  # type: ignore[attr-defined]
    ctx.mark_non_differentiable(output[2])  # type: ignore[attr-defined]


def _gradients(ctx: object, dy: Tensor, dlast: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    *tensors, kept = ctx.saved_tensors  # type: ignore[attr-defined]
    found = _backward(*tensors, ctx.softplus, kept, dy, dlast)  # type: ignore[attr-defined]
    *found, dfirst = found
    given = [None if t is None else g for g, t in zip(found, tensors, strict=True)]
    return (*given, dfirst if ctx.has_first else None, None)  # type: ignore[attr-defined]


_forward.register_autograd(_gradients, setup_context=_setup)
