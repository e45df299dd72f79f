"""LoRA adapters (https://arxiv.org/abs/2106.09685) through the peft library."""

__all__ = ["adapter_parameters", "adapters_off", "inject_adapters"]

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from alignmeter.architectures import Architecture
from alignmeter.cell import Cell
from alignmeter.precision import precision_of


def inject_adapters(
    model: nn.Module, architecture: Architecture, cell: Cell, *, seed: int
) -> nn.Module:
    """Freeze ``model``, add LoRA (alpha = 2 rank, no dropout) and leave a scalar head trainable."""
    from peft import LoraConfig, inject_adapter_in_model

    model.requires_grad_(False)
    config = LoraConfig(
        r=cell.lora_rank,
        lora_alpha=2 * cell.lora_rank,
        lora_dropout=0.0,
        target_modules=list(architecture.lora_targets),
    )
    torch.manual_seed(seed)
    inject_adapter_in_model(config, model)
    dtype = precision_of(cell.precision).adapters
    for name, parameter in model.named_parameters():
        if _is_adapter(name) or name.startswith("score."):
            parameter.data = parameter.data.to(dtype)
            parameter.requires_grad_(True)
    return model


def _is_adapter(name: str) -> bool:
    return ".lora_A." in name or ".lora_B." in name


def adapter_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Name -> parameter of every LoRA matrix in ``model``."""
    return {name: p for name, p in model.named_parameters() if _is_adapter(name)}


@contextlib.contextmanager
def adapters_off(model: nn.Module) -> Iterator[None]:
    """Within the context the model computes as if it had no adapter: the ref_model for free."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    for layer in layers:
        layer.enable_adapters(enabled=False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(enabled=True)
