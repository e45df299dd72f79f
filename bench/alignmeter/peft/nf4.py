"""NF4 weights through bitsandbytes, on the CPU too."""

__all__ = ["nf4_settings", "quantisation_tensors", "quantise"]

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from alignmeter.cell import Cell
from alignmeter.precision import precision_of

BLOCKSIZE = 64
"""bitsandbytes' default has been 128 on CDNA and 64 elsewhere, depending on the version."""


def nf4_settings(cell: Cell) -> dict[str, float | int | str]:
    """The quantiser as it is given to bitsandbytes; nothing is left to its defaults."""
    compute = str(precision_of(cell.precision).compute).removeprefix("torch.")
    return {
        "quantiser": "nf4",
        "blocksize": BLOCKSIZE,
        "double_quantisation": "on",
        "compute_dtype": compute,
    }


def quantise(model: nn.Module, *, skip: tuple[str, ...], compute: torch.dtype) -> nn.Module:
    """Replace every linear layer not named in ``skip`` by an NF4 one with double quantisation.

    The weights are packed when the model moves to its device (bitsandbytes does it in ``to``).
    """
    for name, module in list(model.named_modules()):
        if type(module) is nn.Linear and name.rpartition(".")[2] not in skip:
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, _packed(module, compute))
    return model


def _packed(linear: nn.Linear, compute: torch.dtype) -> nn.Module:
    from bitsandbytes.nn.modules import Linear4bit, Params4bit

    packed: Any = Linear4bit(
        linear.in_features,
        linear.out_features,
        bias=linear.bias is not None,
        compute_dtype=compute,
        quant_type="nf4",
    )
    packed.weight = Params4bit(
        linear.weight.data,
        requires_grad=False,
        quant_type="nf4",
        blocksize=BLOCKSIZE,
        compress_statistics=True,
        module=packed,
    )
    if linear.bias is not None:
        packed.bias = linear.bias
    # On CPUs with AVX512-BF16, bitsandbytes 0.50 repacks the weights for good in the first no-grad
    # eval forward, and later training forwards use a kernel without a gradient: log-probs shift
    # and lora_B gradients vanish in silence. tests/bench/test_peft.py compares both sides.
    packed.support_avx512bf16_for_cpu = False
    return packed  # type: ignore[no-any-return]


def quantisation_tensors(model: nn.Module) -> Iterator[torch.Tensor]:
    """Scales, codes and offsets that belong to the NF4 weights of ``model``."""
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        while state is not None:
            for value in vars(state).values():
                if isinstance(value, torch.Tensor):
                    yield value
            state = state.state2
