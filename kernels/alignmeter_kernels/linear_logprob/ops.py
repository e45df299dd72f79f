"""Log-probs from hidden states as a torch operator."""

__all__ = ["linear_logprob"]

import torch

from alignmeter_kernels.launch import launchable
from alignmeter_kernels.layout import dense
from alignmeter_kernels.linear_logprob import gpu, portable
from alignmeter_kernels.paths import note
from alignmeter_kernels.planning import fake, operator

Tensor = torch.Tensor


def linear_logprob(hidden: Tensor, weight: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """`reference.linear_logprob_reference` without the [T, V] logits.

    Gradients flow from the log-probs to ``hidden`` and ``weight``; the entropies carry none.

    Args:
        hidden: [..., H]. weight: [V, H] in the same dtype. labels: [...] int64 in [0, V).

    Returns:
        Log-probs and entropies (nats) in the shape of ``labels``, fp32.

    Raises:
        ValueError: naming the argument whose shape, dtype or device does not fit.
    """
    _check(hidden, weight, labels)
    flat, wanted = hidden.reshape(-1, hidden.shape[-1]), labels.reshape(-1)
    # A frozen head is told apart here: an operator sees no requires_grad. On Triton the backward
    # pass is as cheap without the direction, and a pass without gradient need not compute it.
    frozen = not weight.requires_grad and not launchable(hidden.device)
    direction = frozen and hidden.requires_grad and torch.is_grad_enabled()
    logprobs, entropy, _, _ = _forward(flat, weight, wanted, direction)
    return logprobs.view(labels.shape), entropy.view(labels.shape)


def _check(hidden: Tensor, weight: Tensor, labels: Tensor) -> None:
    if weight.dim() != 2 or hidden.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"weight is {tuple(weight.shape)}; want [V, {hidden.shape[-1]}] beside hidden "
            f"{tuple(hidden.shape)}"
        )
    if hidden.shape[:-1] != labels.shape:
        raise ValueError(f"labels are {tuple(labels.shape)}; want {tuple(hidden.shape[:-1])}")
    if labels.dtype != torch.int64:
        raise ValueError(f"labels are {labels.dtype}; want torch.int64")
    if not hidden.is_floating_point() or weight.dtype != hidden.dtype:
        raise ValueError(f"weight is {weight.dtype}, hidden {hidden.dtype}: want one float dtype")
    for name, tensor in (("weight", weight), ("labels", labels)):
        if tensor.device != hidden.device:
            raise ValueError(f"{name} is on {tensor.device}, hidden on {hidden.device}")


@operator("alignmeter::linear_logprob")
def _forward(
    hidden: Tensor, weight: Tensor, labels: Tensor, direction: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if launchable(hidden.device):
        note("linear_logprob", "triton")
        return (*gpu.forward(*dense(hidden, weight, labels)), hidden.new_empty(0))
    note("linear_logprob", "torch")
    return portable.forward(hidden, weight, labels, direction=direction)


@fake(_forward)
def _(
    hidden: Tensor, weight: Tensor, labels: Tensor, direction: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    shape = hidden.shape[0]
    fp32 = [hidden.new_empty(shape, dtype=torch.float32) for _ in range(3)]
    return *fp32, hidden.new_empty(hidden.shape if direction else 0)  # type: ignore[return-value]


@operator("alignmeter::linear_logprob_backward")
def _backward(
    hidden: Tensor, weight: Tensor, labels: Tensor, lse: Tensor, grad: Tensor, trained: bool
) -> tuple[Tensor, Tensor]:
    if launchable(hidden.device):
        return gpu.backward(*dense(hidden, weight, labels, lse, grad), trained=trained)
    return portable.backward(hidden, weight, labels, lse, grad.contiguous(), trained=trained)


@fake(_backward)
def _(
    hidden: Tensor, weight: Tensor, labels: Tensor, lse: Tensor, grad: Tensor, trained: bool
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(hidden), weight.new_empty(weight.shape if trained else 0)


def _setup(ctx: object, inputs: tuple[object, ...], output: tuple[Tensor, ...]) -> None:
    hidden, weight, labels, direction = inputs
    _, entropy, lse, directions = output
    ctx.direction = direction  # type: ignore[attr-defined]
    ctx.mark_non_differentiable(entropy, lse, directions)  # type: ignore[attr-defined]
    if direction:
        ctx.save_for_backward(directions)  # type: ignore[attr-defined]
    else:
        ctx.save_for_backward(hidden, weight, labels, lse)  # type: ignore[attr-defined]


def _gradients(ctx: object, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    if ctx.direction:  # type: ignore[attr-defined]
        (directions,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return (directions * grad.unsqueeze(-1)).to(directions.dtype), None, None, None
    hidden, weight, labels, lse = ctx.saved_tensors  # type: ignore[attr-defined]
    trained = ctx.needs_input_grad[1]  # type: ignore[attr-defined]
    dhidden, dweight = _backward(hidden, weight, labels, lse, grad, trained)
    return dhidden, dweight if trained else None, None, None


_forward.register_autograd(_gradients, setup_context=_setup)
