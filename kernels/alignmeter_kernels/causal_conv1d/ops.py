"""Causal depthwise convolution with SiLU as a torch operator."""

__all__ = ["causal_conv1d"]


import torch

from alignmeter_kernels.causal_conv1d import gpu, native, portable
from alignmeter_kernels.launch import launchable
from alignmeter_kernels.layout import dense, wide
from alignmeter_kernels.paths import note
from alignmeter_kernels.planning import fake, operator

Tensor = torch.Tensor


def causal_conv1d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, silu: bool = True
) -> Tensor:
    """`reference.causal_conv1d_reference`, computed in fp32; keeps its inputs only for backward.

    Args:
        x: [rows, D, T], any float dtype. weight: [D, K]. bias: [D].

    Returns:
        [rows, D, T] in the dtype of ``x``.

    Raises:
        ValueError: naming the argument whose shape, dtype or device does not fit.
    """
    if x.dim() != 3 or not x.is_floating_point():
        raise ValueError(f"x is {tuple(x.shape)} {x.dtype}; want floats [rows, D, T]")
    width = x.shape[1]
    if weight.dim() != 2 or weight.shape[0] != width:
        raise ValueError(f"weight is {tuple(weight.shape)}; want [{width}, K] beside x")
    if bias is not None and tuple(bias.shape) != (width,):
        raise ValueError(f"bias is {tuple(bias.shape)}; want ({width},) beside x")
    for name, tensor in (("weight", weight), ("bias", bias)):
        if tensor is not None and tensor.device != x.device:
            raise ValueError(f"{name} is on {tensor.device}, x on {x.device}")
    y: Tensor = _forward(x, weight, bias, silu)
    return y


@operator("alignmeter::causal_conv1d")
def _forward(x: Tensor, weight: Tensor, bias: Tensor | None, silu: bool) -> Tensor:
    if launchable(x.device):
        note("causal_conv1d", "triton")
        return gpu.forward(*dense(x, weight, bias), silu=silu)
    cpp = x.device.type == "cpu" and native.usable()
    note("causal_conv1d", "cpp" if cpp else "torch")
    run = native.forward if cpp else portable.forward
    return run(wide(x), wide(weight), wide(bias), silu=silu).to(x.dtype)  # type: ignore[arg-type]


@fake(_forward)
def _(x: Tensor, weight: Tensor, bias: Tensor | None, silu: bool) -> Tensor:
    return x.new_empty(x.shape)


@operator("alignmeter::causal_conv1d_backward")
def _backward(
    x: Tensor, weight: Tensor, bias: Tensor | None, dy: Tensor, silu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    if launchable(x.device):
        dx, dweight, dbias = gpu.backward(*dense(x, weight, bias, dy), silu=silu)
    else:
        run = native.backward if x.device.type == "cpu" and native.usable() else portable.backward
        made = [wide(tensor) for tensor in (x, weight, bias, dy)]
        dx, dweight, dbias = run(*made, silu=silu)  # type: ignore[arg-type]
    of_bias = weight.dtype if bias is None else bias.dtype
    return dx.to(x.dtype), dweight.to(weight.dtype), dbias.to(of_bias)


@fake(_backward)
def _(
    x: Tensor, weight: Tensor, bias: Tensor | None, dy: Tensor, silu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    of_bias = weight if bias is None else bias
    return x.new_empty(x.shape), weight.new_empty(weight.shape), of_bias.new_empty(x.shape[1])


def _setup(ctx: object, inputs: tuple[object, ...], output: Tensor) -> None:
    *tensors, silu = inputs
    ctx.save_for_backward(*tensors)  # type: ignore[attr-defined]
    ctx.silu = silu  # type: ignore[attr-defined]


def _gradients(ctx: object, dy: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, bias = ctx.saved_tensors  # type: ignore[attr-defined]
    dx, dweight, dbias = _backward(x, weight, bias, dy, ctx.silu)  # type: ignore[attr-defined]
    return dx, dweight, None if bias is None else dbias, None


_forward.register_autograd(_gradients, setup_context=_setup)
