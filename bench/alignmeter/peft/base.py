"""What a PEFT mode does to a model."""

__all__ = ["PEFT_AXES", "PeftMode"]

from typing import Protocol

from torch import nn

from alignmeter.architectures import Architecture
from alignmeter.cells.cell import Cell

PEFT_AXES = ("lora_rank", "quantiser")
"""Axes that some modes ignore; there they stay at their defaults, so that cells are unique."""


class PeftMode(Protocol):
    """One way to train. `store` and `train` change the model in place and return it.

    ``adapters``: it trains adapters on a frozen base, which without them is the ref_model.
    ``axes``: those of `PEFT_AXES` that change what it does.
    """

    name: str
    adapters: bool
    axes: tuple[str, ...]
    default_ref: str

    def missing(self) -> str | None:
        """``None`` if its library is installed, else what to install."""
        ...

    def settings(self, cell: Cell) -> dict[str, float | int | str]:
        """What the record should say of it: rank, alpha, quantiser."""
        ...

    def store(self, model: nn.Module, architecture: Architecture, cell: Cell) -> nn.Module:
        """Bring the base weights into the form this mode keeps them in (NF4 for qlora)."""
        ...

    def train(
        self, model: nn.Module, architecture: Architecture, cell: Cell, *, seed: int
    ) -> nn.Module:
        """Choose what trains: everything, or freshly injected adapters and the scalar head."""
        ...
