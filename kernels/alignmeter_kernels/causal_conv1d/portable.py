"""Causal depthwise convolution in pure torch, one tap at a time."""

__all__ = ["backward", "forward"]

import torch

Tensor = torch.Tensor


def _convolved(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    taps, length = weight.shape[1], x.shape[2]
    y = x * weight[:, -1:]
    for back in range(1, min(taps, length)):
        y[:, :, back:].addcmul_(x[:, :, : length - back], weight[:, taps - 1 - back, None])
    return y if bias is None else y.add_(bias[:, None])


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, *, silu: bool) -> Tensor:
    """[rows, D, T] in fp32 of fp32 inputs."""
    y = _convolved(x, weight, bias)
    return y.mul_(torch.sigmoid(y)) if silu else y


def backward(
    x: Tensor, weight: Tensor, bias: Tensor | None, dy: Tensor, *, silu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, weight and bias; the convolution is computed a second time."""
    taps, length = weight.shape[1], x.shape[2]
    if silu:
        y = _convolved(x, weight, bias)
        gate = torch.sigmoid(y)
        dy = dy * gate * (1 + y * (1 - gate))
    dx, dweight = dy * weight[:, -1:], torch.zeros_like(weight)
    dweight[:, -1] = torch.einsum("bdt,bdt->d", dy, x)
    for back in range(1, min(taps, length)):
        late, early = dy[:, :, back:], x[:, :, : length - back]
        tap = taps - 1 - back
        dx[:, :, : length - back].addcmul_(late, weight[:, tap, None])
        dweight[:, tap] = torch.einsum("bdt,bdt->d", late, early)
    return dx, dweight, dy.sum((0, 2))
