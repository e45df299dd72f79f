"""How near a kernel must be to its reference in float64, derived from its dtype."""

__all__ = ["assert_close_to_float64", "check_kernel", "gradients_of"]

from collections.abc import Callable, Mapping

import torch

from alignmeter_kernels.inputs import Case
from alignmeter_kernels.kernel import Kernel

Tensors = dict[str, torch.Tensor]


def gradients_of(
    function: Callable[[Tensors], Tensors], inputs: Mapping[str, torch.Tensor]
) -> Tensors:
    """Outputs and, as ``d <input>``, gradients of a fixed random functional of them."""
    leaves = {
        name: value.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        for name, value in inputs.items()
    }
    outputs = function(leaves)
    draw = torch.Generator().manual_seed(9)
    parts = [
        (out.double() * torch.randn(out.shape, generator=draw, dtype=torch.float64).to(out.device))
        for out in outputs.values()
        if out.requires_grad
    ]
    torch.stack([part.sum() for part in parts]).sum().backward()
    found = {name: out.detach() for name, out in outputs.items()}
    return found | {
        f"d {name}": leaf.grad for name, leaf in leaves.items() if leaf.grad is not None
    }


def assert_close_to_float64(
    kernel: Callable[[Tensors], Tensors],
    reference: Callable[[Tensors], Tensors],
    inputs: Mapping[str, torch.Tensor],
    *,
    operands: torch.dtype = torch.float32,
) -> None:
    """Every output and gradient within rounding of the float64 reference's.

    A result of n summed terms errs by about u sqrt(n) of their size; with n up to some thousand
    that is 64 u of the largest entry. Half-precision results are rounded once more: 2 u of theirs;
    so are gradients of what is kept in fp32, if an output, and what comes back to it, is not.

    ``operands``: what computed factors are rounded to before they are multiplied. Each product is
    then off by up to u / 2 of itself, in either direction, and a sum of many by less than that of
    its size: within the same 2 u of ``operands``, whatever the result's own dtype is.

    Raises:
        AssertionError: naming the output or gradient that is too far away.
    """
    wide = {name: value.double() for name, value in inputs.items()}
    wanted, found = gradients_of(reference, wide), gradients_of(kernel, inputs)
    if found.keys() != wanted.keys():
        raise AssertionError(f"results are {sorted(found)}; want {sorted(wanted)}")
    outputs = [value.dtype for name, value in found.items() if not name.startswith("d ")]
    for name, value in found.items():
        target = wanted[name]
        if value.shape != target.shape:
            raise AssertionError(f"{name} is {tuple(value.shape)}; want {tuple(target.shape)}")
        size = target.abs().max().clamp(min=1e-6).item()
        bound = 64 * torch.finfo(torch.float32).eps * size
        passed = [value.dtype, operands, *(outputs if name.startswith("d ") else ())]
        dtype = max(passed, key=lambda dtype: torch.finfo(dtype).eps)
        if dtype != torch.float32:
            bound += 2 * torch.finfo(dtype).eps * size
        apart = (value.double() - target).abs().max().item()
        if not apart <= bound:
            raise AssertionError(f"{name}: {apart:.2e} apart, bound {bound:.2e}")


def check_kernel(kernel: Kernel, case: Case, device: str, dtype: torch.dtype) -> None:
    """Hold ``kernel`` on ``device`` against its reference, on one case.

    Raises:
        AssertionError: as `assert_close_to_float64`.
    """
    made = case.make(device, dtype)
    moving = {name: value for name, value in made.items() if value.requires_grad}
    fixed = {name: value for name, value in made.items() if not value.requires_grad}

    def run(function: Callable[..., object]) -> Callable[[Tensors], Tensors]:
        def call(inputs: Tensors) -> Tensors:
            wide = any(value.dtype == torch.float64 for value in inputs.values())
            rest = {
                name: value.double() if wide and value.is_floating_point() else value
                for name, value in fixed.items()
            }
            given = function(**{name: (inputs | rest)[name] for name in made}, **case.options)
            outputs = given if isinstance(given, tuple) else (given,)
            return {f"output {i}": out for i, out in enumerate(outputs) if out is not None}

        return call

    operands = dtype if kernel.rounds_operands else torch.float32
    assert_close_to_float64(run(kernel.operator), run(kernel.reference), moving, operands=operands)
