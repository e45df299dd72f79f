"""The private names of the peft library that this project takes: all of them, and here alone.

Which adapter a layer computes with, or none. `tests/bench/peft/test_tuner_layers.py` says what a
release of peft has changed.
"""

__all__ = ["activate", "active_adapter", "disabled", "drop_in_training", "tuner_layers"]

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import nn


def tuner_layers(model: nn.Module) -> list[Any]:
    """Every layer of ``model`` that has adapters."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [module for module in model.modules() if isinstance(module, BaseTunerLayer)]


def activate(layers: Iterable[Any], name: str) -> None:
    """Let ``layers`` compute with the adapter ``name``.

    peft's ``set_adapter`` and ``enable_adapters`` also change ``requires_grad``, which a step must
    not.
    """
    for layer in layers:
        layer._active_adapter = [name]


class _TrainingDropout(nn.Dropout):
    """Drops in passes with a gradient only.

    What scores without one (log-probs before an update, KTO's KL, a shared reward model) is of the
    model as it is: otherwise a first ratio would not be 1.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As `nn.Dropout`, of any shape."""
        return super().forward(x) if torch.is_grad_enabled() else x


def drop_in_training(layers: Iterable[Any], name: str, share: float) -> None:
    """Let the adapter ``name`` of ``layers`` drop that share of its inputs in training passes."""
    for layer in layers:
        if name in layer.lora_dropout:
            layer.lora_dropout[name] = _TrainingDropout(share)


@contextlib.contextmanager
def active_adapter(layers: Sequence[Any], name: str) -> Iterator[None]:
    """Within the context ``layers`` compute with the adapter ``name``."""
    before = [layer._active_adapter for layer in layers]
    activate(layers, name)
    try:
        yield
    finally:
        for layer, names in zip(layers, before, strict=True):
            layer._active_adapter = names


@contextlib.contextmanager
def disabled(layers: Sequence[Any]) -> Iterator[None]:
    """Within the context ``layers`` compute without any adapter."""
    for layer in layers:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False
