"""The private names of the peft library that this project takes: all of them, and here alone.

Which adapter a layer computes with, or none. `tests/bench/peft/test_tuner_layers.py` says what a
release of peft has changed.
"""

__all__ = ["activate", "active_adapter", "disabled", "tuner_layers"]

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

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
