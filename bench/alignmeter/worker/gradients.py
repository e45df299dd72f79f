"""A look at the gradients just before each optimizer steps."""

__all__ = ["GradientWatch"]

import math
from typing import Any

import torch

from alignmeter.methods import TrainingStep
from alignmeter.parallel import whole
from alignmeter.peft.adapters import adapter_parameters


class GradientWatch:
    """Norm of all gradients of a step, and the adapters that got none.

    Optimizer hooks see every gradient once and complete, whatever the order of backward passes.
    """

    def __init__(self, step: TrainingStep) -> None:
        self._squares: list[torch.Tensor] = []
        self._silent: dict[int, str] = {}
        for owner, model in step.models().items():
            for name, parameter in adapter_parameters(model).items():
                if parameter.requires_grad and ".lora_B." in name:
                    self._silent.setdefault(id(parameter), f"{owner}:{name}")
        self._handles = [
            optimizer.register_step_pre_hook(self._look) for optimizer in step.optimizers()
        ]

    def _look(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                square = whole(parameter.grad.float().square().sum())
                self._squares.append(square)
                if id(parameter) in self._silent and float(square) != 0.0:
                    del self._silent[id(parameter)]

    def take_norm(self) -> float:
        """L2 norm over all gradients since the last call."""
        total = math.fsum(float(square) for square in self._squares)
        self._squares.clear()
        return math.sqrt(total) if total >= 0 else math.nan

    def silent(self) -> list[str]:
        """``owner:name`` of every trained ``lora_B`` whose gradient was absent or zero so far."""
        return list(self._silent.values())

    def close(self) -> None:
        """Stop watching."""
        for handle in self._handles:
            handle.remove()
