"""LoRA adapters (https://arxiv.org/abs/2106.09685) through the peft library."""

__all__ = [
    "POLICY",
    "Weights",
    "AdapterView",
    "adapter_parameters",
    "adapter_settings",
    "adapters_off",
    "add_adapter",
    "counted_adapters",
    "inject_adapters",
    "merged_weights",
    "recomputation",
]

import contextlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from alignmeter.architectures import Architecture
from alignmeter.architectures.packing import Packed
from alignmeter.architectures.precision import precision_of
from alignmeter.cells.cell import Cell
from alignmeter.flops import Trained
from alignmeter.peft.targets import chosen_targets
from alignmeter.peft.tuner_layers import (
    activate,
    active_adapter,
    disabled,
    drop_in_training,
    tuner_layers,
)

POLICY = "default"
"""peft's name for the first adapter of a model: the one that the policy trains."""
Weights = Iterable[tuple[str, torch.Tensor]]
"""Name -> weight, one after the other, so that no more than one copy lives at a time."""


def inject_adapters(
    model: nn.Module, architecture: Architecture, cell: Cell, *, seed: int
) -> nn.Module:
    """Freeze ``model``, add LoRA (alpha = 2 rank) and leave a scalar head trainable."""
    model.requires_grad_(False)
    return add_adapter(model, architecture, cell, name=POLICY, seed=seed, trains=True)


def adapter_settings(cell: Cell) -> dict[str, float | int | str]:
    """Rank, alpha and dropout of the cell's adapters."""
    dropout = float(cell.lora_dropout)
    return {"rank": cell.lora_rank, "alpha": 2 * cell.lora_rank, "dropout": dropout}


def counted_adapters(architecture: Architecture, cell: Cell) -> Trained:
    """What trains with them, for the count of FLOPs."""
    return Trained(rank=cell.lora_rank, targets=chosen_targets(architecture, cell))


def add_adapter(
    model: nn.Module, architecture: Architecture, cell: Cell, *, name: str, seed: int, trains: bool
) -> nn.Module:
    """Put one more adapter called ``name`` on ``model``; the active one stays `POLICY`.

    It and a scalar head at the top of ``model`` are trained if ``trains``; what was there before
    keeps its ``requires_grad``.
    """
    from peft import LoraConfig, inject_adapter_in_model

    kept = {key: p.requires_grad for key, p in model.named_parameters()}
    settings: Any = adapter_settings(cell)
    config = LoraConfig(
        r=settings["rank"],
        lora_alpha=settings["alpha"],
        target_modules=list(chosen_targets(architecture, cell)),
    )
    torch.manual_seed(seed)
    inject_adapter_in_model(config, model, adapter_name=name)
    activate(tuner_layers(model), POLICY)
    if settings["dropout"] and trains:
        drop_in_training(tuner_layers(model), name, settings["dropout"])
    dtype = precision_of(cell.precision).adapters
    for key, parameter in model.named_parameters():
        if key.startswith("score.") or (_is_adapter(key) and f".{name}." in key):
            parameter.data = parameter.data.to(dtype)
            parameter.requires_grad_(trains)
        elif key in kept:
            parameter.requires_grad_(kept[key])
    return model


def recomputation(model: nn.Module) -> tuple[AbstractContextManager[None], ...]:
    """Contexts of a checkpointed block: its forward, and the same adapter when it is recomputed.

    The backward pass runs when another adapter of a shared backbone may be the active one.
    """
    layers = tuner_layers(model)
    if not layers:
        return contextlib.nullcontext(), contextlib.nullcontext()
    return contextlib.nullcontext(), active_adapter(layers, layers[0].active_adapter[0])


class AdapterView(nn.Module):
    """A scalar model on a shared backbone: it computes with its own adapter."""

    def __init__(self, scalar: nn.Module, name: str) -> None:
        super().__init__()
        self.scalar, self.name = scalar, name
        self._layers = tuner_layers(scalar)

    def forward(self, ids: torch.Tensor, packed: Packed | None = None) -> torch.Tensor:
        """Scores [rows, T] in fp32 of token ids [rows, T], to the backbone padded or ``packed``."""
        with active_adapter(self._layers, self.name):
            scores: torch.Tensor = self.scalar(ids, packed)
        return scores


def _is_adapter(name: str) -> bool:
    return ".lora_A." in name or ".lora_B." in name


def adapter_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Name -> parameter of every LoRA matrix in ``model``."""
    return {name: p for name, p in model.named_parameters() if _is_adapter(name)}


@contextlib.contextmanager
def adapters_off(model: nn.Module) -> Iterator[None]:
    """Within the context the model computes as if it had no adapter: the ref_model for free."""
    with disabled(tuner_layers(model)):
        yield


def merged_weights(model: nn.Module) -> Weights:
    """Every weight of ``model`` as one without adapters has it, `POLICY` added to what it adapts.

    A tied weight comes once, under its first name. Raises `ValueError` for packed base weights.
    """
    adapted = set(tuner_layers(model))
    layers = {name: module for name, module in model.named_modules() if module in adapted}
    for name, layer in layers.items():
        base = layer.get_base_layer()
        if not base.weight.is_floating_point():
            raise ValueError(f"{name} is packed: its adapter cannot be added to it")
        yield f"{name}.weight", base.weight.detach() + layer.get_delta_weight(POLICY)
        if base.bias is not None:
            yield f"{name}.bias", base.bias.detach()
    for name, parameter in model.named_parameters():
        if not any(name.startswith(f"{owner}.") for owner in layers):
            yield name, parameter.detach()
