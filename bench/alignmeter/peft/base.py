"""What a PEFT mode does to a model."""

__all__ = ["PeftMode"]

import copy
from collections.abc import Iterable
from typing import Protocol

from torch import nn

from alignmeter.architectures import Architecture
from alignmeter.cells.cell import Cell
from alignmeter.flops import Trained


class PeftMode(Protocol):
    """One way to train. `store` and `train` change the model in place and return it.

    What is asked of a mode where torch is not loaded stands in its row of `registry.PEFT_MODES`.
    """

    name: str
    packs: bool = False
    """`store` keeps the base in fewer bytes than it is drawn or read in."""

    def missing(self) -> str | None:
        """``None`` if its library is installed, else what to install; by default none is wanted."""
        return None

    def misfit(self, cell: Cell) -> str | None:
        """Why it cannot be right for this cell, in words; by default nothing."""
        return None

    def settings(self, cell: Cell) -> dict[str, float | int | str]:
        """What the record should say of it: rank, alpha, quantiser; by default nothing."""
        return {}

    def store(self, model: nn.Module, architecture: Architecture, cell: Cell) -> nn.Module:
        """Bring the base weights into the form this mode keeps them in; by default they stay.

        ``model`` is a causal LM, or one of its blocks that comes before the rest. Of shapes without
        weights it makes shapes.
        """
        return model

    def settle(self, modules: Iterable[nn.Module]) -> None:
        """Weights that `store` packed have been moved to these modules: bring what belongs to them;
        by default nothing does.
        """
        return None  # noqa: RET501 - without it the method would be abstract

    def packed_bytes(self, values: int) -> int:
        """Bytes of a matrix of so many values that `store` has packed, for a bound of a step's
        time; by default nobody has counted them: 0.
        """
        return 0

    def copied(self, model: nn.Module) -> nn.Module:
        """An independent copy of a model as `store` left it."""
        # Python would copy buffers by their storages, and not every device can make one so.
        return copy.deepcopy(model, {id(buffer): buffer.clone() for buffer in model.buffers()})

    def train(
        self, model: nn.Module, architecture: Architecture, cell: Cell, *, seed: int
    ) -> nn.Module:
        """Choose what trains: everything, or freshly injected adapters and the scalar head."""
        ...

    def trained(self, architecture: Architecture, cell: Cell) -> Trained | None:
        """What trains, for the count of FLOPs; by default nobody has counted it, and records say
        so.
        """
        return None
