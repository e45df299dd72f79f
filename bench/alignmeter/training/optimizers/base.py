"""What an optimizer is asked, by axes and by steps."""

__all__ = ["OptimizerKind", "Stepped", "inner_matrices"]

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from alignmeter.cells.cell import Cell


@dataclass(frozen=True, kw_only=True, slots=True)
class Stepped:
    """Weights that one optimizer steps. ``inner``: those of them that are `inner_matrices`."""

    parameters: list[nn.Parameter]
    inner: list[nn.Parameter]


class OptimizerKind(Protocol):
    """One way to step weights, always without weight decay.

    What is asked of it where torch is not loaded stands in its row of `registry.OPTIMIZERS`.
    """

    name: str
    shards: bool = False
    """A rank's share of a weight is stepped as it is within the whole."""

    def missing(self, cell: Cell) -> str | None:
        """What to install for the cell, in words; ``None``: nothing, and so by default."""
        return None

    def make(self, stepped: Stepped, *, learning_rate: float, cell: Cell) -> torch.optim.Optimizer:
        """The optimizer of ``stepped`` in the cell, on real tensors and on some without data."""
        ...

    def state_bytes(self, values: int, itemsize: int, inner: bool) -> int:
        """Bytes that it keeps of a matrix of so many values, for a bound of a step's time.

        ``itemsize``: of one of them in bytes. ``inner``: it is one of `inner_matrices`. By default
        nobody has counted them: 0.
        """
        return 0


def inner_matrices(model: nn.Module) -> Iterator[nn.Parameter]:
    """Weights of the linear layers and adapters within ``model``: matrices, and neither embeddings
    nor what reads the last hidden state.
    """
    ends = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    for name, parameter in model.named_parameters():
        *_, layer, kind = ("", *name.split("."))
        matrix = parameter.ndim == 2 and kind == "weight"
        if matrix and layer not in ("lm_head", "score") and id(parameter) not in ends:
            yield parameter
