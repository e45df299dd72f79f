"""What a model family tells the rest: shapes, how to build it, what may be adapted or quantised."""

__all__ = ["EOS_TOKEN", "PAD_TOKEN", "SPECIAL_TOKENS", "Architecture", "Shape"]

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import torch
from torch import nn

from alignmeter.architectures.vendor import Vendor
from alignmeter.cells.cell import digest
from alignmeter.errors import InputError, known
from alignmeter.flops import Block

PAD_TOKEN, EOS_TOKEN = 0, 2
SPECIAL_TOKENS = {"pad_token_id": PAD_TOKEN, "bos_token_id": 1, "eos_token_id": EOS_TOKEN}
"""What every config is told, to match the byte-level tokenizer."""
_STOCK: dict[tuple[str, str], Callable[..., Any]] = {}
"""What transformers' modules held before a custom operator took its place."""
Shape = Mapping[str, int | bool]
"""Keyword arguments of the transformers config."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """One family. ``make(shape)`` builds its randomly initialised transformers causal LM.

    ``modeling``: the transformers module behind it, imported once before workers are forked.
    ``operators``: functions of that module and what takes their place with ``kernels = custom``.
    ``vendor``: what it takes from other projects with ``kernels = vendor``.
    ``checkpoints``: the ``model_type`` of checkpoints that count as this family.
    ``lora_targets``: modules that get adapters on every backend, by last name.
    ``nf4_skip``: linear modules that stay unquantised, by last name, because the model reads their
    ``weight`` without calling them.
    ``block(shape)``: one block, for the count of FLOPs, at the keys of a config, a checkpoint's
    too; ``None`` where nobody has counted it, and records say so.
    """

    name: str
    shapes: Mapping[str, Shape]
    make: Callable[[Shape], nn.Module]
    modeling: str
    checkpoints: tuple[str, ...]
    lora_targets: tuple[str, ...]
    nf4_skip: tuple[str, ...]
    operators: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    vendor: Vendor | None = None
    block: Callable[[Mapping[str, Any]], Block] | None = None

    def shape(self, size: str) -> Shape:
        """The config of ``size``. Raises `InputError` listing the known sizes."""
        if size not in self.shapes:
            raise InputError(f"{self.name} has no size {size!r}; {known(self.shapes)}")
        return self.shapes[size]

    def use_kernels(self, kernels: str) -> None:
        """Put the custom operators into the modelling module of this process, or take them out."""
        module = import_module(self.modeling)
        for name, custom in self.operators.items():
            there, key = getattr(module, name), (self.modeling, name)
            if kernels == "custom" and there is not custom:
                _STOCK[key] = there
                setattr(module, name, custom)
            elif kernels != "custom" and there is custom:
                setattr(module, name, _STOCK[key])

    def stock(self, function: str) -> Callable[..., Any]:
        """That function of the modelling module as transformers has it, which is put in place."""
        self.use_kernels("stock")
        found: Callable[..., Any] = getattr(import_module(self.modeling), function)
        return found

    def parameters(self, size: str) -> int:
        """Number of weights of ``size``, tied ones once; nothing is allocated."""
        with torch.device("meta"):
            model = self.make(self.shape(size))
        return sum(parameter.numel() for parameter in model.parameters())

    def digest(self, size: str) -> str:
        """Identity of the randomly initialised model: its family and shape."""
        return digest([self.name, dict(self.shape(size))])

    def build(
        self, size: str, *, seed: int, dtype: torch.dtype, layers: int | None = None
    ) -> nn.Module:
        """A causal LM on the CPU, the same weights for one seed on every machine.

        It is initialised in fp32 on the CPU whatever the device, then cast to ``dtype``.
        ``layers`` replaces the number of layers.
        """
        shape = dict(self.shape(size))
        if layers is not None:
            shape["num_hidden_layers"] = layers
        torch.manual_seed(seed)
        return self.make(shape).to(dtype)
