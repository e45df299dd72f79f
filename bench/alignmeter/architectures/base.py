"""What a model family tells the rest: shapes, how to build it, what may be adapted or quantised."""

__all__ = [
    "EOS_TOKEN",
    "PAD_TOKEN",
    "SPECIAL_TOKENS",
    "WHOLE_PARAMETERS",
    "WHOLE_SIZES",
    "Architecture",
    "Shape",
    "drawing_device",
]

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import torch
from torch import nn

from alignmeter.architectures.drawing import draw, undrawn
from alignmeter.architectures.late_weights import Form
from alignmeter.architectures.layers import ATTENDING, cut_places
from alignmeter.architectures.operators import Operator, forget_runs
from alignmeter.architectures.transformers_internals import behind
from alignmeter.architectures.vendor import Vendor
from alignmeter.cells.cell import digest
from alignmeter.errors import InputError, known
from alignmeter.flops import Blocks

PAD_TOKEN, EOS_TOKEN = 0, 2
SPECIAL_TOKENS = {"pad_token_id": PAD_TOKEN, "bos_token_id": 1, "eos_token_id": EOS_TOKEN}
"""What every config is told, to match the byte-level tokenizer."""
WHOLE_SIZES = ("tiny", "130m", "370m")
"""Sizes whose whole models are checked against a reference on a CPU, where it draws them in time:
on every device their weights are drawn on the CPU. Of others a reference checks the first layers.
"""
WHOLE_PARAMETERS = 500_000_000
"""The same of a model that has a config of its own."""
_ORIGINAL: dict[tuple[str, str], Callable[..., Any]] = {}
"""(Modelling module, function) -> what it held when it was imported."""
Shape = Mapping[str, Any]
"""Keyword arguments of the transformers config: numbers, and of layers of two kinds places."""


def drawing_device(size: str, *, layers: int | None, device_type: str) -> str:
    """Type of the device that draws a model's random weights for ``device_type``.

    A CPU draws what references are computed of: `WHOLE_SIZES`, and the first ``layers`` of others.
    """
    return "cpu" if layers is not None or size in WHOLE_SIZES else device_type


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """One family. ``make(shape)`` builds its randomly initialised transformers causal LM.

    ``modeling``: the transformers module behind it, imported once before workers are forked.
    ``operators``: functions of that module that other code may run.
    ``vendor``: what it takes from other projects with ``kernels = vendor``.
    ``checkpoints``: the ``model_type`` of checkpoints that count as this family.
    ``activations``: what ``hidden_act`` of its checkpoints may be; empty: all of transformers'.
    ``turns_part``: rotary positions may turn a part of each head.
    ``lora_targets``: modules that get adapters on every backend, by last name.
    ``nf4_skip``: linear modules that stay unquantised, by last name, because the model reads their
    ``weight`` without calling them.
    ``blocks(shape)``: its blocks, for the count of FLOPs, at the keys of a config, a checkpoint's
    too; ``None`` where nobody has counted them, and records say so.
    ``no_adapters``, ``no_nf4``, ``stock_only``: why it cannot be adapted, quantised, or run with
    ``kernels = custom``, in words.
    """

    name: str
    shapes: Mapping[str, Shape]
    make: Callable[[Shape], nn.Module]
    modeling: str
    checkpoints: tuple[str, ...]
    lora_targets: tuple[str, ...]
    nf4_skip: tuple[str, ...]
    activations: tuple[str, ...] = ()
    turns_part: bool = False
    operators: Mapping[str, Operator] = field(default_factory=dict)
    vendor: Vendor | None = None
    blocks: Callable[[Mapping[str, Any]], Blocks] | None = None
    no_adapters: str | None = None
    no_nf4: str | None = None
    stock_only: str | None = None

    def shape(self, size: str) -> Shape:
        """The config of ``size``. Raises `InputError` listing the known sizes."""
        if size not in self.shapes:
            raise InputError(f"{self.name} has no size {size!r}; {known(self.shapes)}")
        return self.shapes[size]

    def use_kernels(self, kernels: str, *, packages: bool = False) -> None:
        """Put what ``kernels`` says into the modelling module of this process.

        ``packages``: other projects' are built for the device, so that ``stock`` runs them where
        transformers does; without it ``stock`` is transformers' own torch code.
        """
        forget_runs()
        known_packages = self.vendor.packages if packages and self.vendor is not None else None
        for name, operator in self.operators.items():
            chosen = operator.chosen(self._original(name), kernels, known_packages)
            setattr(import_module(self.modeling), name, chosen)

    def _original(self, function: str) -> Callable[..., Any]:
        key = self.modeling, function
        if key not in _ORIGINAL:
            _ORIGINAL[key] = getattr(import_module(self.modeling), function)
        return _ORIGINAL[key]

    def torch_code(self, function: str) -> Callable[..., Any]:
        """transformers' own torch code of that function of the modelling module."""
        return behind(self._original(function)).plain

    def parameters(self, size: str, layers: int | None = None) -> int:
        """Number of weights of ``size``, tied ones once; nothing is allocated.

        ``layers`` keeps as many, as `kept_layers`.
        """
        with torch.device("meta"):
            model = self.make(self._cut(size, layers))
        return sum(parameter.numel() for parameter in model.parameters())

    def _cut(self, size: str, layers: int | None) -> Shape:
        shape = self.shape(size)
        if layers is None:
            return shape
        cut = {**shape, "num_hidden_layers": layers}
        return cut | {ATTENDING: cut_places(shape[ATTENDING], layers)} if ATTENDING in cut else cut

    def digest(self, size: str) -> str:
        """Identity of the randomly initialised model: its family and shape."""
        return digest([self.name, dict(self.shape(size))])

    def build(
        self, size: str, *, seed: int, dtype: torch.dtype, layers: int | None = None
    ) -> nn.Module:
        """A causal LM on the CPU, the same weights for one seed on every machine.

        It is initialised in fp32 on the CPU whatever the device, then cast to ``dtype``.
        ``layers`` keeps as many, as `kept_layers`.
        """
        torch.manual_seed(seed)
        return self.make(self._cut(size, layers)).to(dtype)

    def build_there(
        self,
        size: str,
        *,
        seed: int,
        dtype: torch.dtype,
        device: torch.device,
        store: Callable[[nn.Module], nn.Module],
    ) -> nn.Module:
        """A causal LM drawn on ``device``: other weights than `build`'s, and one block in full."""
        shape = self.shape(size)
        return draw(lambda: self.make(shape), seed=seed, dtype=dtype, device=device, store=store)

    def build_undrawn(
        self,
        size: str,
        *,
        seed: int,
        dtype: torch.dtype,
        device: torch.device,
        form: Form | None = None,
    ) -> nn.Module:
        """The causal LM of `build_there` that is drawn later, a block at a time: `Late`."""
        shape = self.shape(size)
        return undrawn(lambda: self.make(shape), seed=seed, dtype=dtype, device=device, form=form)
