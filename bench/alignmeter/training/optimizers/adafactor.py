"""Adafactor (https://arxiv.org/abs/1804.04235): a row and a column in place of a second moment."""

__all__ = ["ADAFACTOR"]

import torch

from alignmeter.cells.cell import Cell
from alignmeter.training.optimizers.base import OptimizerKind, Stepped


class _Adafactor(OptimizerKind):
    """transformers' own with the learning rate as it is given, as its `Trainer` makes it of
    ``optim="adafactor"``. torch's scales every step by the weights' size.
    """

    name = "adafactor"

    def make(self, stepped: Stepped, *, learning_rate: float, cell: Cell) -> torch.optim.Optimizer:
        from transformers.optimization import Adafactor

        made: torch.optim.Optimizer = Adafactor(
            stepped.parameters,
            lr=learning_rate,
            scale_parameter=False,
            relative_step=False,
            weight_decay=0.0,
        )
        return made

    def state_bytes(self, values: int, itemsize: int, inner: bool) -> int:
        """None worth counting: a row and a column, as large as vectors."""
        return 0


ADAFACTOR = _Adafactor()
