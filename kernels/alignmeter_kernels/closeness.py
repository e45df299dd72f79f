"""How near a kernel must be to its reference in float64, derived from its dtype."""

import torch


def gradients_of(function, inputs):
    """Outputs and, as ``d <input>``, gradients of a fixed random functional of them."""
    leaves = {
        name: value.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        for name, value in inputs.items()
    }
    outputs = function(leaves)
    draw = torch.Generator().manual_seed(9)
    total = sum(
        (out.double() * torch.randn(out.shape, generator=draw, dtype=torch.float64)).sum()
        for out in outputs.values()
        if out.requires_grad
    )
    total.backward()
    found = {name: out.detach() for name, out in outputs.items()}
    found |= {f"d {name}": leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
    return found


def assert_close_to_float64(kernel, reference, inputs):
    """Every output and gradient within rounding of the float64 reference's.

    A result of n summed terms errs by about u sqrt(n) of their size; with n up to some thousand
    that is 64 u of the largest entry. Half-precision results are rounded once more: 2 u of theirs.
    """
    wide = {name: value.double() for name, value in inputs.items()}
    wanted, found = gradients_of(reference, wide), gradients_of(kernel, inputs)
    assert found.keys() == wanted.keys()
    for name, value in found.items():
        target = wanted[name]
        assert value.shape == target.shape, name
        size = target.abs().max().clamp(min=1e-6).item()
        bound = 64 * torch.finfo(torch.float32).eps * size
        if value.dtype != torch.float32:
            bound += 2 * torch.finfo(value.dtype).eps * size
        apart = (value.double() - target).abs().max().item()
        assert apart <= bound, f"{name}: {apart:.2e} apart, bound {bound:.2e}"
