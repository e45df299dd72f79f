"""NF4 layers as a torch operator."""

__all__ = ["nf4_linear"]

from collections.abc import Iterator
from types import ModuleType

import torch

from alignmeter_kernels.launch import launchable
from alignmeter_kernels.nf4_linear import gpu, portable
from alignmeter_kernels.nf4_linear.reference import NESTED, Nf4Weight
from alignmeter_kernels.paths import note
from alignmeter_kernels.planning import fake, operator

Tensor = torch.Tensor

_BLOCKSIZES = (32, 64, 128, 256, 512, 1024, 2048, 4096)
_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def nf4_linear(x: Tensor, weight: Nf4Weight, bias: Tensor | None = None) -> Tensor:
    """`reference.nf4_linear_reference` without the dequantised weight.

    Gradients flow to ``x`` and ``bias``; the weight is frozen, and of the inputs only it is kept
    for the backward pass.

    Args:
        x: [..., in] in fp32, fp16 or bf16. weight: see `Nf4Weight`; its tensors contiguous, since a
            copy of them in each call would cost what they save. bias: [out] in ``x``'s dtype.

    Returns:
        [..., out] in ``x``'s dtype: the product is that of the weight rounded to that dtype.

    Raises:
        ValueError: naming the argument whose shape, dtype, device or layout does not fit.
    """
    bias = None if bias is None else bias.contiguous()
    _check(x, weight, bias)
    out, width = weight.shape
    y: Tensor = _forward(
        x.reshape(-1, width), weight.packed, weight.absmax, weight.levels, weight.nested_absmax,
        weight.offset, bias, out, weight.blocksize,
    )  # fmt: skip
    return y.view(*x.shape[:-1], out)


def _check(x: Tensor, weight: Nf4Weight, bias: Tensor | None) -> None:
    if x.dtype not in _DTYPES:
        raise ValueError(f"x is {x.dtype}; want one of {_DTYPES}")
    if x.dim() == 0 or x.shape[-1] != weight.shape[1]:
        raise ValueError(f"x is {tuple(x.shape)}; want [..., {weight.shape[1]}]")
    if weight.blocksize not in _BLOCKSIZES:
        raise ValueError(f"blocksize is {weight.blocksize}; want one of {_BLOCKSIZES}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias is {tuple(bias.shape)}; want [{weight.shape[0]}]")
    for name, tensor, count, dtype in _wanted(x, weight, bias):
        _check_tensor(name, tensor, count, dtype, x.device)


def _check_tensor(
    name: str, tensor: Tensor | None, count: int, dtype: torch.dtype, device: torch.device
) -> None:
    if tensor is None:
        raise ValueError(f"{name} is missing; levels, nested_absmax and offset go together")
    if tensor.numel() != count:
        raise ValueError(f"{name} has {tensor.numel()} elements; want {count}")
    if tensor.dtype != dtype:
        raise ValueError(f"{name} is {tensor.dtype}; want {dtype}")
    if tensor.device != device:
        raise ValueError(f"{name} is on {tensor.device}, x on {device}")
    if not tensor.is_contiguous():
        raise ValueError(f"{name} is not contiguous")


def _wanted(
    x: Tensor, weight: Nf4Weight, bias: Tensor | None
) -> Iterator[tuple[str, Tensor | None, int, torch.dtype]]:
    """Name, tensor, number of elements and dtype of what comes beside ``x``."""
    elements = weight.shape[0] * weight.shape[1]
    blocks = -(-elements // weight.blocksize)
    nested = {
        "levels": (weight.levels, 256),
        "nested_absmax": (weight.nested_absmax, -(-blocks // NESTED)),
        "offset": (weight.offset, 1),
    }
    double = any(tensor is not None for tensor, _ in nested.values())
    yield "packed", weight.packed, -(-elements // 2), torch.uint8
    yield "absmax", weight.absmax, blocks, torch.uint8 if double else torch.float32
    if double:
        for name, (tensor, count) in nested.items():
            yield name, tensor, count, torch.float32
    if bias is not None:
        yield "bias", bias, weight.shape[0], x.dtype


def _path(device: torch.device) -> ModuleType:
    return gpu if launchable(device) else portable


@operator("alignmeter::nf4_linear")
def _forward(
    x: Tensor,
    packed: Tensor,
    absmax: Tensor,
    levels: Tensor | None,
    nested_absmax: Tensor | None,
    offset: Tensor | None,
    bias: Tensor | None,
    out: int,
    blocksize: int,
) -> Tensor:
    weight = Nf4Weight(packed, absmax, (out, x.shape[1]), blocksize, levels, nested_absmax, offset)
    note("nf4_linear", "triton" if launchable(x.device) else "torch")
    y: Tensor = _path(x.device).forward(x.contiguous(), weight, bias)
    return y


@fake(_forward)
def _(x: Tensor, *rest: object) -> Tensor:
    *_, out, _blocksize = rest
    return x.new_empty(x.shape[0], out)  # type: ignore[call-overload,no-any-return]


@operator("alignmeter::nf4_linear_backward")
def _backward(
    dy: Tensor,
    packed: Tensor,
    absmax: Tensor,
    levels: Tensor | None,
    nested_absmax: Tensor | None,
    offset: Tensor | None,
    width: int,
    blocksize: int,
) -> Tensor:
    weight = Nf4Weight(
        packed, absmax, (dy.shape[1], width), blocksize, levels, nested_absmax, offset
    )
    dx: Tensor = _path(dy.device).backward(dy.contiguous(), weight)
    return dx


@fake(_backward)
def _(dy: Tensor, *rest: object) -> Tensor:
    *_, width, _blocksize = rest
    return dy.new_empty(dy.shape[0], width)  # type: ignore[call-overload,no-any-return]


def _setup(ctx: object, inputs: tuple[object, ...], output: Tensor) -> None:
    x, *weight, _, _, blocksize = inputs
    ctx.width, ctx.blocksize = x.shape[1], blocksize  # type: ignore[attr-defined]
    ctx.save_for_backward(*weight)  # type: ignore[attr-defined]


def _gradients(ctx: object, dy: Tensor) -> tuple[Tensor | None, ...]:
    wanted = ctx.needs_input_grad  # type: ignore[attr-defined]
    dx = dbias = None
    if wanted[0]:
        kept = ctx.saved_tensors  # type: ignore[attr-defined]
        dx = _backward(dy, *kept, ctx.width, ctx.blocksize)  # type: ignore[attr-defined]
    if wanted[6]:
        dbias = dy.sum(0)
    return dx, None, None, None, None, None, dbias, None, None


_forward.register_autograd(_gradients, setup_context=_setup)
